import { readUint64, writeUint64 } from './uint64.js';

/** Bytes before the data in the payload of OFFSET_DATA. [nbd: NBD_REPLY_TYPE_OFFSET_DATA] */
export const OFFSET_DATA_HEADER_BYTES = 8;
/** Bytes of the payload of OFFSET_HOLE, always. [nbd: NBD_REPLY_TYPE_OFFSET_HOLE; nbd-rule 28] */
export const OFFSET_HOLE_BYTES = 12;

/** A run of zeros in the answer to a READ. */
export interface OffsetHole {
  readonly offset: number;
  /** At least 1. */
  readonly lengthBytes: number;
}

/** Encodes what comes before the data of OFFSET_DATA. */
export function encodeOffsetDataHeader(bytes: Buffer, at: number, offset: number): void {
  writeUint64(bytes, at, offset);
}

/** Decodes the offset of OFFSET_DATA. */
export function decodeOffsetDataHeader(bytes: Buffer, at: number): number {
  return readUint64(bytes, at);
}

/** Encodes the payload of OFFSET_HOLE. */
export function encodeOffsetHole(bytes: Buffer, at: number, hole: OffsetHole): void {
  writeUint64(bytes, at, hole.offset);
  bytes.writeUInt32BE(hole.lengthBytes, at + 8);
}

/** Decodes the payload of OFFSET_HOLE. */
export function decodeOffsetHole(bytes: Buffer, at: number): OffsetHole {
  return { offset: readUint64(bytes, at), lengthBytes: bytes.readUInt32BE(at + 8) };
}
