import { crc32 } from 'node:zlib';
import { assert } from '../util/assert.js';

// A journal is two copies of its state, written in turn, and a slot for each block of the disk in the order of the disk. A
// slot that was never written is a hole of the file. All numbers are little-endian.

/** Another version is not read: what it says is worth no more than moving the blocks again. */
export const JOURNAL_VERSION = 1;
/** Room for each copy of the state: 50 tags take some 20 KiB. */
export const STATE_BYTES = 128 * 1024;
/** Where the slots begin. */
export const SLOTS_OFFSET = 2 * STATE_BYTES;
/** SHA-256 (32), what it stands for (u32), CRC-32 (u32). */
export const SLOT_BYTES = 40;

const MAGIC = 'SNBDMOVE';
const STATE_HEADER_BYTES = 24;
const DIGEST_BYTES = 32;

/** What is known of a block. */
export const BlockFate = {
  /** It was written to its destination. */
  Moved: 1,
  /** The parent of the destination has the same bytes there. */
  Inherited: 2,
} as const;
export type BlockFate = (typeof BlockFate)[keyof typeof BlockFate];

/** What a slot says. */
export interface BlockRecord {
  readonly blockIndex: number;
  readonly fate: BlockFate;
  /** base64 of the SHA-256 of the block. */
  readonly checksum: string;
}

/** One copy of the state. `sequence` decides which of two counts. */
export interface StateCopy {
  readonly sequence: number;
  /** Binds the slots to this journal. */
  readonly nonce: number;
  readonly json: unknown;
}

/** @throws when the state is too long, which the bounds on its parts rule out. */
export function encodeState({ sequence, nonce, json }: StateCopy): Buffer {
  const text = Buffer.from(JSON.stringify(json), 'utf8');
  assert(STATE_HEADER_BYTES + text.length <= STATE_BYTES, `a state of ${text.length} bytes`);
  const bytes = Buffer.alloc(STATE_HEADER_BYTES + text.length);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt16LE(JOURNAL_VERSION, 8);
  bytes.writeUIntLE(text.length, 10, 4);
  bytes.writeUInt32LE(sequence, 14);
  bytes.writeUInt16LE(nonce, 18);
  text.copy(bytes, STATE_HEADER_BYTES);
  bytes.writeUInt32LE(crc32(bytes), 20);
  return bytes;
}

/** Undefined for what is no whole state of this version. */
export function decodeState(bytes: Buffer): StateCopy | undefined {
  if (bytes.length < STATE_HEADER_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) return undefined;
  if (bytes.readUInt16LE(8) !== JOURNAL_VERSION) return undefined;
  const endOffset = STATE_HEADER_BYTES + bytes.readUIntLE(10, 4);
  if (endOffset > bytes.length) return undefined;
  const copy = Buffer.from(bytes.subarray(0, endOffset));
  const crc = copy.readUInt32LE(20);
  copy.writeUInt32LE(0, 20);
  if (crc32(copy) !== crc) return undefined;
  return {
    sequence: bytes.readUInt32LE(14),
    nonce: bytes.readUInt16LE(18),
    json: JSON.parse(copy.toString('utf8', STATE_HEADER_BYTES)) as unknown,
  };
}

/** Writes a slot into `target` at `at`. */
export function encodeSlot(record: BlockRecord, nonce: number, target: Buffer, at: number): void {
  const written = target.write(record.checksum, at, DIGEST_BYTES, 'base64');
  assert(written === DIGEST_BYTES, 'a checksum is no SHA-256');
  target.writeUInt32LE(record.fate, at + DIGEST_BYTES);
  target.writeUInt32LE(slotCrc(target, at, record.blockIndex, nonce), at + DIGEST_BYTES + 4);
}

/** Undefined for a slot that was not written, was torn, or belongs to another journal or block. */
export function decodeSlot(
  source: Buffer,
  at: number,
  blockIndex: number,
  nonce: number,
): BlockRecord | undefined {
  const fate = source.readUInt32LE(at + DIGEST_BYTES);
  if (fate !== BlockFate.Moved && fate !== BlockFate.Inherited) return undefined;
  if (source.readUInt32LE(at + DIGEST_BYTES + 4) !== slotCrc(source, at, blockIndex, nonce)) return undefined;
  return { blockIndex, fate, checksum: source.toString('base64', at, at + DIGEST_BYTES) };
}

const seed = Buffer.alloc(8);

function slotCrc(bytes: Buffer, at: number, blockIndex: number, nonce: number): number {
  seed.writeUIntLE(blockIndex, 0, 6);
  seed.writeUInt16LE(nonce, 6);
  return crc32(bytes.subarray(at, at + DIGEST_BYTES + 4), crc32(seed));
}
