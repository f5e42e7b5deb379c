import { ProtocolError } from '../protocol-error.js';
import { EXTENDED_REPLY_MAGIC } from '../transmission-constants.js';
import type { ChunkHeader, ReplyTarget } from './structured-header.js';
import { readUint64, writeUint64 } from './uint64.js';

/** Bytes of an extended chunk before its payload. [nbd: Extended reply chunk message] */
export const EXTENDED_HEADER_BYTES = 32;

/** What comes before the payload of an extended chunk: the offset of the request is repeated. [nbd-rule 18] */
export interface ExtendedChunkHeader extends ChunkHeader {
  /** The request's, in two signed halves. */
  readonly offsetHigh: number;
  readonly offsetLow: number;
}

/** Encodes the header of an extended chunk into `bytes`. */
export function encodeExtendedHeader(
  bytes: Buffer,
  at: number,
  flags: number,
  type: number,
  target: ReplyTarget,
  lengthBytes: number,
): void {
  bytes.writeInt32BE(EXTENDED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(flags, at + 4);
  bytes.writeUInt16BE(type, at + 6);
  bytes.writeInt32BE(target.cookieHigh, at + 8);
  bytes.writeInt32BE(target.cookieLow, at + 12);
  bytes.writeInt32BE(target.offsetHigh, at + 16);
  bytes.writeInt32BE(target.offsetLow, at + 20);
  writeUint64(bytes, at + 24, lengthBytes);
}

/** Decodes the header of an extended chunk. @throws {ProtocolError} on a wrong magic number. */
export function decodeExtendedHeader(bytes: Buffer, at: number): ExtendedChunkHeader {
  if (bytes.readUInt32BE(at) !== EXTENDED_REPLY_MAGIC) {
    throw new ProtocolError('an extended chunk without its magic number');
  }
  return {
    flags: bytes.readUInt16BE(at + 4),
    type: bytes.readUInt16BE(at + 6),
    cookieHigh: bytes.readInt32BE(at + 8),
    cookieLow: bytes.readInt32BE(at + 12),
    offsetHigh: bytes.readInt32BE(at + 16),
    offsetLow: bytes.readInt32BE(at + 20),
    lengthBytes: readUint64(bytes, at + 24),
  };
}
