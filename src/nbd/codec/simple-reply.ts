import { ProtocolError } from '../protocol-error.js';
import { SIMPLE_REPLY_MAGIC } from '../transmission-constants.js';

/** Bytes of a simple reply before its payload. [nbd: Simple reply message] */
export const SIMPLE_REPLY_BYTES = 16;

/** A simple reply, without its payload. */
export interface SimpleReply {
  readonly error: number;
  /** The request's, in two signed halves. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/** Encodes a simple reply into `bytes`. Takes plain values, not an object, since it is called for each request. */
export function encodeSimpleReply(
  bytes: Buffer,
  at: number,
  error: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  bytes.writeInt32BE(SIMPLE_REPLY_MAGIC, at);
  bytes.writeInt32BE(error, at + 4);
  bytes.writeInt32BE(cookieHigh, at + 8);
  bytes.writeInt32BE(cookieLow, at + 12);
}

/** Decodes a simple reply. @throws {ProtocolError} on a wrong magic number. */
export function decodeSimpleReply(bytes: Buffer, at: number): SimpleReply {
  if (bytes.readUInt32BE(at) !== SIMPLE_REPLY_MAGIC) {
    throw new ProtocolError('a simple reply without its magic number');
  }
  return {
    error: bytes.readUInt32BE(at + 4),
    cookieHigh: bytes.readInt32BE(at + 8),
    cookieLow: bytes.readInt32BE(at + 12),
  };
}
