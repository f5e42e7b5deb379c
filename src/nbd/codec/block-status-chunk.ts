import type { Extent } from '../../device/block-device.js';
import { ProtocolError } from '../protocol-error.js';
import { readUint64, writeUint64 } from './uint64.js';

/** The extents of one context in the answer to BLOCK_STATUS. */
export interface BlockStatusChunk {
  readonly contextId: number;
  /** At least one. */
  readonly extents: readonly Extent[];
}

/** Encodes the payload of BLOCK_STATUS: lengths and flags of 32 bits. [nbd: NBD_REPLY_TYPE_BLOCK_STATUS] */
export function encodeBlockStatus(chunk: BlockStatusChunk): Buffer {
  const bytes = Buffer.allocUnsafe(4 + 8 * chunk.extents.length);
  bytes.writeUInt32BE(chunk.contextId, 0);
  let at = 4;
  for (const extent of chunk.extents) {
    bytes.writeUInt32BE(extent.lengthBytes, at);
    bytes.writeUInt32BE(extent.flags, at + 4);
    at += 8;
  }
  return bytes;
}

/** Decodes the payload of BLOCK_STATUS. @throws {ProtocolError} when it does not consist of whole extents. */
export function decodeBlockStatus(payload: Buffer): BlockStatusChunk {
  if (payload.length < 12 || (payload.length - 4) % 8 !== 0) {
    throw new ProtocolError(`a block status of ${payload.length} bytes`);
  }
  const extents: Extent[] = [];
  for (let at = 4; at < payload.length; at += 8) {
    extents.push({ lengthBytes: payload.readUInt32BE(at), flags: payload.readUInt32BE(at + 4) });
  }
  return { contextId: payload.readUInt32BE(0), extents };
}

/** Encodes the payload of BLOCK_STATUS_EXT: lengths and flags of 64 bits. [nbd: NBD_REPLY_TYPE_BLOCK_STATUS_EXT] */
export function encodeBlockStatusExt(chunk: BlockStatusChunk): Buffer {
  const bytes = Buffer.allocUnsafe(8 + 16 * chunk.extents.length);
  bytes.writeUInt32BE(chunk.contextId, 0);
  bytes.writeUInt32BE(chunk.extents.length, 4);
  let at = 8;
  for (const extent of chunk.extents) {
    writeUint64(bytes, at, extent.lengthBytes);
    writeUint64(bytes, at + 8, extent.flags);
    at += 16;
  }
  return bytes;
}

/** Decodes the payload of BLOCK_STATUS_EXT. @throws {ProtocolError} when its count and its length differ. */
export function decodeBlockStatusExt(payload: Buffer): BlockStatusChunk {
  if (payload.length < 24 || payload.length !== 8 + 16 * payload.readUInt32BE(4)) {
    throw new ProtocolError(`an extended block status of ${payload.length} bytes`);
  }
  const extents: Extent[] = [];
  for (let at = 8; at < payload.length; at += 16) {
    extents.push({ lengthBytes: readUint64(payload, at), flags: readUint64(payload, at + 8) });
  }
  return { contextId: payload.readUInt32BE(0), extents };
}
