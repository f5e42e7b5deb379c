import { ProtocolError } from '../protocol-error.js';
import { STRUCTURED_REPLY_MAGIC } from '../transmission-constants.js';

/** Bytes of a chunk of a structured reply before its payload. [nbd: Structured reply chunk message] */
export const STRUCTURED_HEADER_BYTES = 20;

/** What a chunk answers: the parts of a request that come back in its replies. */
export interface ReplyTarget {
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offsetHigh: number;
  readonly offsetLow: number;
}

/** What comes before the payload of a chunk. */
export interface ChunkHeader {
  readonly flags: number;
  readonly type: number;
  /** The request's, in two signed halves. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** Bytes of payload that follow. */
  readonly lengthBytes: number;
}

/** Encodes the header of a chunk into `bytes`. Takes plain values, since it is called for each request. */
export function encodeStructuredHeader(
  bytes: Buffer,
  at: number,
  flags: number,
  type: number,
  target: ReplyTarget,
  lengthBytes: number,
): void {
  bytes.writeInt32BE(STRUCTURED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(flags, at + 4);
  bytes.writeUInt16BE(type, at + 6);
  bytes.writeInt32BE(target.cookieHigh, at + 8);
  bytes.writeInt32BE(target.cookieLow, at + 12);
  bytes.writeUInt32BE(lengthBytes, at + 16);
}

/** Decodes the header of a chunk. @throws {ProtocolError} on a wrong magic number. */
export function decodeStructuredHeader(bytes: Buffer, at: number): ChunkHeader {
  if (bytes.readUInt32BE(at) !== STRUCTURED_REPLY_MAGIC) {
    throw new ProtocolError('a chunk without its magic number');
  }
  return {
    flags: bytes.readUInt16BE(at + 4),
    type: bytes.readUInt16BE(at + 6),
    cookieHigh: bytes.readInt32BE(at + 8),
    cookieLow: bytes.readInt32BE(at + 12),
    lengthBytes: bytes.readUInt32BE(at + 16),
  };
}
