import { crc32 } from 'node:zlib';
import { DIGEST_BYTES } from './index-format.js';

// The records of a pending snapshot: record n says what slot n of the file of blocks holds. All numbers are
// little-endian.

/** Records are as long as a cache line, so that none is ever split between two pages of the system's cache. */
export const RECORD_BYTES = 64;

const MAGIC = 0x4b4c_4245; // "EBLK"
const FLAG_ZERO = 1;
const CRC_OFFSET = RECORD_BYTES - 4;
const DIGEST_OFFSET = 24;

/** One put. */
export interface BlockRecord {
  readonly blockIndex: number;
  /** Of two records of one block, the one with the greater number holds. */
  readonly sequence: number;
  /** When it was put, in milliseconds since 1970. */
  readonly putAtMs: number;
  /** The block is all zeros, and the slot holds nothing. */
  readonly isZero: boolean;
  readonly digest: Buffer;
}

export function encodeRecord(record: BlockRecord): Buffer {
  const bytes = Buffer.alloc(RECORD_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(record.blockIndex, 4);
  bytes.writeUIntLE(record.sequence, 8, 6);
  bytes.writeUIntLE(record.putAtMs, 16, 6);
  bytes.writeUInt16LE(record.isZero ? FLAG_ZERO : 0, 22);
  record.digest.copy(bytes, DIGEST_OFFSET);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CRC_OFFSET)), CRC_OFFSET);
  return bytes;
}

/** The record at `offset`, or undefined where none was written, or not all of it. */
export function decodeRecord(bytes: Buffer, offset: number): BlockRecord | undefined {
  if (offset + RECORD_BYTES > bytes.length || bytes.readUInt32LE(offset) !== MAGIC) return undefined;
  const crc = crc32(bytes.subarray(offset, offset + CRC_OFFSET));
  if (bytes.readUInt32LE(offset + CRC_OFFSET) !== crc) return undefined;
  return {
    blockIndex: bytes.readUInt32LE(offset + 4),
    sequence: bytes.readUIntLE(offset + 8, 6),
    putAtMs: bytes.readUIntLE(offset + 16, 6),
    isZero: (bytes.readUInt16LE(offset + 22) & FLAG_ZERO) !== 0,
    digest: Buffer.from(bytes.subarray(offset + DIGEST_OFFSET, offset + DIGEST_OFFSET + DIGEST_BYTES)),
  };
}
