import { STRING_BYTES_MAX } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes a string of the protocol: UTF-8, no NUL, at most 4096 bytes. [nbd: Conventions]
 *
 * @throws {ProtocolError} when it is not one.
 */
export function decodeString(bytes: Uint8Array): string {
  if (bytes.length > STRING_BYTES_MAX) {
    throw new ProtocolError(`a string of ${bytes.length} bytes, where ${STRING_BYTES_MAX} are allowed`);
  }
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (error) {
    throw new ProtocolError('a string that is not UTF-8', { cause: error });
  }
  if (text.includes('\0')) throw new ProtocolError('a string with a NUL in it');
  return text;
}

/** Encodes a string, cut to 4096 bytes at a whole character and rid of NULs, which no string may hold. */
export function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('\0', ''), 'utf8');
  if (bytes.length <= STRING_BYTES_MAX) return bytes;
  let end = STRING_BYTES_MAX;
  while (isContinuation(bytes[end])) end -= 1;
  return bytes.subarray(0, end);
}

/** True for a byte inside a character of UTF-8, before which no text may be cut. */
function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/** How much of a name that a peer made up is worth repeating to it, or to a log. In UTF-16 code units. */
const QUOTED_LENGTH_MAX = 80;

/**
 * A peer's own text made fit for a message: cut short, control characters written out, in quotes. An error message
 * with all of a 4096-byte name in it would not fit where it has to go. [nbd-rule 11; CVE-2020-10761, CVE-2017-15118]
 */
export function quoteName(name: string): string {
  const short = name.length > QUOTED_LENGTH_MAX ? `${name.slice(0, QUOTED_LENGTH_MAX)}…` : name;
  return JSON.stringify(short);
}
