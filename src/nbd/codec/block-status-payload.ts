import { ProtocolError } from '../protocol-error.js';
import { readUint64, writeUint64 } from './uint64.js';

/** What a BLOCK_STATUS with a payload asks for. [nbd: NBD_CMD_BLOCK_STATUS] */
export interface BlockStatusPayload {
  /** The length of the range that is asked about, in bytes; Infinity from 2^53 on. */
  readonly lengthBytes: number;
  /** The contexts that are to answer. */
  readonly contextIds: readonly number[];
}

/** Decodes the payload of a BLOCK_STATUS. @throws {ProtocolError} when it is not 8 + 4n bytes. */
export function decodeBlockStatusPayload(payload: Buffer): BlockStatusPayload {
  if (payload.length < 8 || payload.length % 4 !== 0) {
    throw new ProtocolError(`a payload of ${payload.length} bytes`);
  }
  const contextIds: number[] = [];
  for (let at = 8; at < payload.length; at += 4) contextIds.push(payload.readUInt32BE(at));
  return { lengthBytes: readUint64(payload, 0), contextIds };
}

/** Encodes the payload of a BLOCK_STATUS. */
export function encodeBlockStatusPayload(payload: BlockStatusPayload): Buffer {
  const bytes = Buffer.alloc(8 + 4 * payload.contextIds.length);
  writeUint64(bytes, 0, payload.lengthBytes);
  payload.contextIds.forEach((id, index) => bytes.writeUInt32BE(id, 8 + 4 * index));
  return bytes;
}
