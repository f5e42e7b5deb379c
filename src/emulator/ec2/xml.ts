/** What an element holds: text, elements in their order, or nothing where it is undefined. */
export type XmlContent = string | number | boolean | XmlList | XmlElements | undefined;

/** Elements by their names; those that are undefined are left out. */
export interface XmlElements {
  readonly [name: string]: XmlContent;
}

/** A list, as EC2 writes them: one `item` for each member. */
export type XmlList = readonly XmlElements[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Writes elements. [XML 1.0] */
export function xmlOf(elements: XmlElements): string {
  return Object.entries(elements)
    .map(([name, content]) => (content === undefined ? '' : `<${name}>${contentOf(content)}</${name}>`))
    .join('');
}

function contentOf(content: Exclude<XmlContent, undefined>): string {
  if (typeof content !== 'object') return textOf(String(content));
  if (isList(content)) return content.map((item) => `<item>${xmlOf(item)}</item>`).join('');
  return xmlOf(content);
}

function isList(content: XmlList | XmlElements): content is XmlList {
  return Array.isArray(content);
}

/** Characters that XML has no way to write become the replacement character. [XML 1.0: Char] */
function textOf(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character)
    .replace(/[^\P{Control}\t\n\u0080-\u009f]|[\ufffe\uffff]/gu, (character) =>
      character === '\r' ? '&#13;' : '\ufffd',
    );
}
