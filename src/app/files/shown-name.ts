/** Control characters, and marks that turn the direction of text. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/gu;

/**
 * A name out of a snapshot as it may be shown: what is not UTF-8, and what would steer a terminal, is written as
 * `\xNN` or `\u{N}`.
 */
export function shownName(name: Uint8Array): string {
  const bytes = Buffer.from(name);
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) {
    return bytes.toString('latin1').replace(/[^ -[\]-~]/g, (char) => hexEscape(char));
  }
  return text.replace(UNSHOWN, (char) => (char === '\\' ? '\\\\' : hexEscape(char)));
}

function hexEscape(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}
