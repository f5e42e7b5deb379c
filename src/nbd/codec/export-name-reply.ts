import { EXPORT_NAME_PADDING_BYTES } from '../handshake-constants.js';
import { readUint64, writeUint64 } from './uint64.js';

/** Bytes of the reply to EXPORT_NAME without its padding. */
export const EXPORT_NAME_REPLY_BYTES = 10;

/** The size and the flags of an export. */
export interface ExportFacts {
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
}

/**
 * Encodes the reply to EXPORT_NAME, the only one without a header.
 *
 * @param isPadded whether 124 zeros follow: unless both sides set NO_ZEROES. [nbd-rule 2]
 */
export function encodeExportNameReply(facts: ExportFacts, isPadded: boolean): Buffer {
  const bytes = Buffer.alloc(EXPORT_NAME_REPLY_BYTES + (isPadded ? EXPORT_NAME_PADDING_BYTES : 0));
  writeUint64(bytes, 0, facts.sizeBytes);
  bytes.writeUInt16BE(facts.transmissionFlags, 8);
  return bytes;
}

/** Decodes the reply to EXPORT_NAME, padding aside. */
export function decodeExportNameReply(bytes: Buffer, at: number): ExportFacts {
  return { sizeBytes: readUint64(bytes, at), transmissionFlags: bytes.readUInt16BE(at + 8) };
}
