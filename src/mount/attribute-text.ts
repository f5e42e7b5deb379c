import { assert } from '../util/assert.js';
import type { FileAttribute } from '../files/filesystem.js';

const HEADING = '# file: ';

/** What is known of the attributes of one file. */
export interface FileAttributes {
  readonly path: Buffer;
  readonly attributes: readonly FileAttribute[];
}

/** The text that `setfattr --restore` reads and `getfattr --dump --encoding=hex` writes, with a character for a byte. */
export function attributeText(files: Iterable<FileAttributes>): string {
  let text = '';
  for (const { path, attributes } of files) {
    text += `${HEADING}${quoted(path)}\n`;
    for (const { name, value } of attributes) text += `${quoted(name)}=0x${value.toString('hex')}\n`;
    text += '\n';
  }
  return text;
}

/** Reads what `getfattr` has written: files without attributes are not in it. */
export function parseAttributeText(text: string): readonly FileAttributes[] {
  const files: { readonly path: Buffer; readonly attributes: FileAttribute[] }[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    if (line.startsWith(HEADING)) {
      files.push({ path: unquoted(line.slice(HEADING.length)), attributes: [] });
      continue;
    }
    const [name = '', value = '0x'] = line.split('=');
    const file = files.at(-1);
    assert(file !== undefined && value.startsWith('0x'), 'attributes in hexadecimal digits below a file');
    file.attributes.push({ name: unquoted(name), value: Buffer.from(value.slice(2), 'hex') });
  }
  return files;
}

/** All but plain characters as `\ooo`. */
function quoted(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[^\w/.-]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

function unquoted(text: string): Buffer {
  const plain = text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return Buffer.from(plain, 'latin1');
}
