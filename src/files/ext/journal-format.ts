import { crc32c } from '../crc32c.js';
import { damaged, unsupported } from '../file-error.js';

/** The journal of ext3 and ext4 (jbd2), as include/linux/jbd2.h of Linux defines it: big-endian throughout. */
export const JOURNAL_MAGIC = 0xc03b3998;
export const JOURNAL_HEADER_BYTES = 12;

/** What a block of the journal with a header is. */
export const JournalBlockType = {
  Descriptor: 1,
  Commit: 2,
  Superblock1: 3,
  Superblock2: 4,
  Revoke: 5,
} as const;

const Feature = {
  Revoke: 0x1,
  Is64Bit: 0x2,
  AsyncCommit: 0x4,
  Csum2: 0x8,
  Csum3: 0x10,
  FastCommit: 0x20,
} as const;
const FEATURES_KNOWN = Object.values(Feature).reduce((all, bit) => all | bit, 0);
const FAST_COMMIT_BLOCKS_DEFAULT = 256;

const TagFlag = { Escaped: 1, SameUuid: 2, Last: 8 } as const;
const UUID_BYTES = 16;

/** What the superblock of a journal says. */
export interface JournalShape {
  readonly blockBytes: number;
  /** The log is the blocks from here, */
  readonly firstBlock: number;
  /** to here, exclusive, and then begins again. */
  readonly endBlock: number;
  /** Where fast commits are; equal to `endBlock` where there are none. */
  readonly totalBlocks: number;
  /** The first block that has to be replayed; 0 for none. */
  readonly startBlock: number;
  /** The number of the first transaction there. */
  readonly sequence: number;
  readonly is64Bit: boolean;
  /** 0: none. */
  readonly checksumVersion: 0 | 2 | 3;
  readonly checksumSeed: number;
}

/** One block that a descriptor announces. */
export interface JournalTag {
  readonly block: number;
  readonly isEscaped: boolean;
  readonly checksum: number;
}

/** Reads the superblock of a journal. @throws {FileError} `EIO`, or `ENOTSUP` for features that are not known. */
export function decodeJournalSuperblock(bytes: Buffer): JournalShape {
  const type = bytes.readUInt32BE(4);
  const isSecond = type === JournalBlockType.Superblock2;
  if (bytes.readUInt32BE(0) !== JOURNAL_MAGIC || (!isSecond && type !== JournalBlockType.Superblock1)) {
    throw damaged('the journal has no superblock');
  }
  const features = isSecond ? bytes.readUInt32BE(0x28) : 0;
  const unknown = (features & ~FEATURES_KNOWN) >>> 0;
  const checksumVersion = (features & Feature.Csum3) !== 0 ? 3 : (features & Feature.Csum2) !== 0 ? 2 : 0;
  if (unknown !== 0 || ((features & Feature.AsyncCommit) !== 0 && checksumVersion === 0)) {
    throw unsupported(
      `Cannot replay the journal: it uses features that are not known here (0x${features.toString(16)}). Mount a fork instead.`,
    );
  }
  const totalBlocks = bytes.readUInt32BE(0x10);
  const fastBlocks =
    (features & Feature.FastCommit) === 0 ? 0 : bytes.readUInt32BE(0x54) || FAST_COMMIT_BLOCKS_DEFAULT;
  const shape: JournalShape = {
    blockBytes: bytes.readUInt32BE(0xc),
    firstBlock: bytes.readUInt32BE(0x14),
    endBlock: totalBlocks - fastBlocks,
    totalBlocks,
    startBlock: bytes.readUInt32BE(0x1c),
    sequence: bytes.readUInt32BE(0x18),
    is64Bit: (features & Feature.Is64Bit) !== 0,
    checksumVersion,
    checksumSeed: crc32c(bytes.subarray(0x30, 0x40)),
  };
  const { firstBlock, endBlock, startBlock } = shape;
  const isSound =
    firstBlock >= 1 &&
    firstBlock < endBlock &&
    (startBlock === 0 || (startBlock >= firstBlock && startBlock < endBlock));
  if (!isSound) throw damaged('the superblock of the journal contradicts itself');
  return shape;
}

/** Reads the tags of a descriptor block: which blocks follow it, in order. */
export function decodeTags(bytes: Buffer, shape: JournalShape): readonly JournalTag[] {
  const tagBytes = tagBytesOf(shape);
  const end = bytes.length - (shape.checksumVersion === 0 ? 0 : 4);
  const tags: JournalTag[] = [];
  let at = JOURNAL_HEADER_BYTES;
  while (at + tagBytes <= end) {
    const isThird = shape.checksumVersion === 3;
    const flags = isThird ? bytes.readUInt32BE(at + 4) : bytes.readUInt16BE(at + 6);
    const high = shape.is64Bit ? bytes.readUInt32BE(at + 8) : 0;
    tags.push({
      block: bytes.readUInt32BE(at) + high * 2 ** 32,
      isEscaped: (flags & TagFlag.Escaped) !== 0,
      checksum: isThird ? bytes.readUInt32BE(at + 12) : bytes.readUInt16BE(at + 4),
    });
    at += tagBytes + ((flags & TagFlag.SameUuid) === 0 ? UUID_BYTES : 0);
    if ((flags & TagFlag.Last) !== 0) break;
  }
  return tags;
}

function tagBytesOf({ checksumVersion, is64Bit }: JournalShape): number {
  if (checksumVersion === 3) return 16;
  return (is64Bit ? 12 : 8) + (checksumVersion === 2 ? 2 : 0);
}

/** Reads the blocks of a revoke block: older copies of them must not be replayed. */
export function decodeRevokes(bytes: Buffer, shape: JournalShape): readonly number[] {
  const entryBytes = shape.is64Bit ? 8 : 4;
  const usedBytes = bytes.readUInt32BE(JOURNAL_HEADER_BYTES);
  const end = Math.min(usedBytes, bytes.length - (shape.checksumVersion === 0 ? 0 : 4));
  const revoked: number[] = [];
  for (let at = JOURNAL_HEADER_BYTES + 4; at + entryBytes <= end; at += entryBytes) {
    revoked.push(
      shape.is64Bit ? bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4) : bytes.readUInt32BE(at),
    );
  }
  return revoked;
}

/** True when a descriptor or revoke block has the checksum that its last four bytes claim. */
export function hasSoundTail(bytes: Buffer, { checksumVersion, checksumSeed }: JournalShape): boolean {
  return checksumVersion === 0 || isSoundWith(bytes, bytes.length - 4, checksumSeed);
}

/** True when a commit block has the checksum that it claims. */
export function hasSoundCommit(bytes: Buffer, { checksumVersion, checksumSeed }: JournalShape): boolean {
  return checksumVersion === 0 || isSoundWith(bytes, 0x10, checksumSeed);
}

/** When a transaction was committed, in seconds since 1970. */
export function commitSecondsOf(bytes: Buffer): number {
  return bytes.readUInt32BE(0x30) * 2 ** 32 + bytes.readUInt32BE(0x34);
}

function isSoundWith(bytes: Buffer, checksumOffset: number, seed: number): boolean {
  const expected = bytes.readUInt32BE(checksumOffset);
  const blank = Buffer.from(bytes);
  blank.writeUInt32BE(0, checksumOffset);
  return crc32c(blank, seed) === expected;
}
