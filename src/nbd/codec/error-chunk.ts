import { ProtocolError } from '../protocol-error.js';
import { readUint64, writeUint64 } from './uint64.js';
import { decodeString, encodeString } from './wire-string.js';

/** An error in the answer to a request. [nbd: NBD_REPLY_TYPE_ERROR] */
export interface ErrorChunk {
  /** Never 0. */
  readonly error: number;
  /** For people; may be empty. */
  readonly message: string;
  /** Where it happened; given only with ERROR_OFFSET. [nbd: NBD_REPLY_TYPE_ERROR_OFFSET] */
  readonly offset?: number;
}

/** Encodes the payload of ERROR, or of ERROR_OFFSET where there is an offset. */
export function encodeErrorChunk(chunk: ErrorChunk): Buffer {
  const message = encodeString(chunk.message);
  const bytes = Buffer.alloc(6 + message.length + (chunk.offset === undefined ? 0 : 8));
  bytes.writeUInt32BE(chunk.error, 0);
  bytes.writeUInt16BE(message.length, 4);
  bytes.set(message, 6);
  if (chunk.offset !== undefined) writeUint64(bytes, 6 + message.length, chunk.offset);
  return bytes;
}

/** Decodes the payload of ERROR and ERROR_OFFSET. @throws {ProtocolError} when its lengths do not fit. */
export function decodeErrorChunk(payload: Buffer, hasOffset: boolean): ErrorChunk {
  const fixedBytes = hasOffset ? 14 : 6;
  if (payload.length < fixedBytes) throw new ProtocolError('an error that is too short');
  const messageEnd = 6 + payload.readUInt16BE(4);
  if (messageEnd + fixedBytes - 6 !== payload.length) {
    throw new ProtocolError('an error whose message does not fit');
  }
  const chunk = { error: payload.readUInt32BE(0), message: decodeString(payload.subarray(6, messageEnd)) };
  return hasOffset ? { ...chunk, offset: readUint64(payload, messageEnd) } : chunk;
}
