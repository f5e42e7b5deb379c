import { hash } from 'node:crypto';

/** What an entry takes in the index. */
export const ENTRY_BYTES = 64;

export const KEY_BYTES = 16;
export const DIGEST_BYTES = 32;
const SEGMENT_AT = KEY_BYTES + DIGEST_BYTES;
const SLOT_AT = SEGMENT_AT + 6;
const CHECK_AT = SLOT_AT + 2;

/** Where an entry has never been: one entry in 2^64 that has been looks the same, and is lost. */
const NO_CHECK = Buffer.alloc(ENTRY_BYTES - CHECK_AT);

/** Where a block's bytes are. */
export interface BlockPlace {
  /** Names the segment file; segments made later have greater numbers. 0 for a block of zeros, which is nowhere. */
  readonly segment: number;
  /** Which block of the segment. */
  readonly slot: number;
}

/** What the index says of a key. */
export interface IndexEntry extends BlockPlace {
  /** SHA-256 of the block. */
  readonly digest: Buffer;
}

/** The key of something, by all that distinguishes it. 128 bits of SHA-256. */
export function keyOf(...parts: readonly (string | number)[]): Buffer {
  return hash('sha256', JSON.stringify(parts), 'buffer').subarray(0, KEY_BYTES);
}

/** Writes an entry with a check of its own, since a place that is wrong by a bit could be that of another block. */
export function encodeEntry(key: Buffer, entry: IndexEntry): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  key.copy(bytes, 0, 0, KEY_BYTES);
  entry.digest.copy(bytes, KEY_BYTES, 0, DIGEST_BYTES);
  bytes.writeUIntBE(entry.segment, SEGMENT_AT, 6);
  bytes.writeUInt16BE(entry.slot, SLOT_AT);
  checkOf(bytes, 0).copy(bytes, CHECK_AT);
  return bytes;
}

/** Reads the entry at a position; undefined when it is empty, damaged, or half written. */
export function decodeEntry(bytes: Buffer, at: number): IndexEntry | undefined {
  // Most are empty, and no reason to compute anything.
  if (bytes.compare(NO_CHECK, 0, NO_CHECK.length, at + CHECK_AT, at + ENTRY_BYTES) === 0) return undefined;
  if (!checkOf(bytes, at).equals(bytes.subarray(at + CHECK_AT, at + ENTRY_BYTES))) return undefined;
  return {
    digest: Buffer.from(bytes.subarray(at + KEY_BYTES, at + SEGMENT_AT)),
    segment: bytes.readUIntBE(at + SEGMENT_AT, 6),
    slot: bytes.readUInt16BE(at + SLOT_AT),
  };
}

function checkOf(bytes: Buffer, at: number): Buffer {
  const body = bytes.subarray(at, at + CHECK_AT);
  return hash('sha256', body, 'buffer').subarray(0, ENTRY_BYTES - CHECK_AT);
}
