import { crc32c } from '../crc32c.js';
import { damaged, unsupported } from '../file-error.js';
import { textField } from '../text-field.js';
import { uuidOf } from '../uuid.js';
import { Compat, Incompat, INCOMPAT_KNOWN, RoCompat } from './features.js';

/** Where the superblock lies in the volume, and how long it is. */
export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_BYTES = 1024;

const MAGIC = 0xef53;
const MAGIC_OFFSET = 0x38;
const CHECKSUM_OFFSET = 0x3fc;
/** 64 KiB, the largest that Linux knows. */
const LOG_BLOCK_SIZE_MAX = 6;

/** What the superblock says, checked against itself. */
export interface ExtSuperblock {
  readonly inodeCount: number;
  readonly blockCount: number;
  readonly blockBytes: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly groupCount: number;
  readonly inodeBytes: number;
  readonly descriptorBytes: number;
  readonly firstMetaGroup: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  /** Groups that have a copy of the superblock, under sparse_super2. */
  readonly backupGroups: readonly [number, number];
  readonly journalInode: number;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  /** What all checksums of metadata begin with. */
  readonly checksumSeed: number;
}

/** True when the 1024 bytes at offset 1024 of a volume are the superblock of an ext filesystem. */
export function isExtSuperblock(bytes: Buffer): boolean {
  return bytes.length >= SUPERBLOCK_BYTES && bytes.readUInt16LE(MAGIC_OFFSET) === MAGIC;
}

/** Which of the three it is, by its features, as libblkid tells them apart. A journal on its own is `jbd`. */
export function extTypeOf(bytes: Buffer): 'ext2' | 'ext3' | 'ext4' | 'jbd' {
  const incompat = bytes.readUInt32LE(0x60);
  const roCompat = bytes.readUInt32LE(0x64);
  if ((incompat & Incompat.JournalDevice) !== 0) return 'jbd';
  const isBeyondExt3 =
    (incompat & ~(Incompat.Filetype | Incompat.Recover | Incompat.MetaBg)) !== 0 ||
    (roCompat & ~(RoCompat.SparseSuper | RoCompat.LargeFile | RoCompat.BtreeDirectory)) !== 0;
  if (isBeyondExt3) return 'ext4';
  return (bytes.readUInt32LE(0x5c) & Compat.HasJournal) === 0 ? 'ext2' : 'ext3';
}

/**
 * Reads the superblock.
 *
 * @param bytes the 1024 bytes at offset 1024 of the volume.
 * @throws {FileError} `EIO` when it contradicts itself or its checksum, `ENOTSUP` for features that are not known.
 */
export function decodeSuperblock(bytes: Buffer): ExtSuperblock {
  if (!isExtSuperblock(bytes)) throw damaged('there is no ext superblock');
  const compat = bytes.readUInt32LE(0x5c);
  const incompat = bytes.readUInt32LE(0x60);
  const roCompat = bytes.readUInt32LE(0x64);
  if ((incompat & Incompat.JournalDevice) !== 0) {
    throw unsupported('This volume is the journal of another filesystem, and has no files of its own.');
  }
  const unknown = (incompat & ~INCOMPAT_KNOWN) >>> 0;
  if (unknown !== 0) {
    throw unsupported(
      `Cannot read this ext filesystem: it uses features that are not known here (0x${unknown.toString(16)}). Mount it instead.`,
    );
  }
  if ((roCompat & RoCompat.MetadataChecksum) !== 0) {
    if (crc32c(bytes.subarray(0, CHECKSUM_OFFSET)) !== bytes.readUInt32LE(CHECKSUM_OFFSET)) {
      throw damaged('the checksum of the superblock is wrong');
    }
  }
  return decodeFields(bytes, { compat, incompat, roCompat });
}

function decodeFields(
  bytes: Buffer,
  features: Pick<ExtSuperblock, 'compat' | 'incompat' | 'roCompat'>,
): ExtSuperblock {
  const logBlockSize = bytes.readUInt32LE(0x18);
  if (logBlockSize > LOG_BLOCK_SIZE_MAX) throw damaged(`blocks of 2^${logBlockSize} KiB`);
  const blockBytes = 1024 << logBlockSize;
  const is64Bit = (features.incompat & Incompat.Is64Bit) !== 0;
  const blockCount = bytes.readUInt32LE(0x4) + (is64Bit ? bytes.readUInt32LE(0x150) : 0) * 2 ** 32;
  const inodeCount = bytes.readUInt32LE(0);
  const firstDataBlock = bytes.readUInt32LE(0x14);
  const blocksPerGroup = bytes.readUInt32LE(0x20);
  const inodesPerGroup = bytes.readUInt32LE(0x28);
  // The first revision had no field for it.
  const inodeBytes = bytes.readUInt32LE(0x4c) === 0 ? 128 : bytes.readUInt16LE(0x58);
  const descriptorBytes = is64Bit ? bytes.readUInt16LE(0xfe) : 32;
  if (!Number.isSafeInteger(blockCount * blockBytes)) throw damaged(`${blockCount} blocks`);
  // With clusters (bigalloc) it is 0 for blocks of 1 KiB as well.
  if (firstDataBlock > (blockBytes === 1024 ? 1 : 0)) throw damaged(`a first block ${firstDataBlock}`);
  if (blocksPerGroup === 0 || blockCount <= firstDataBlock) throw damaged('it has no blocks');
  if (inodesPerGroup === 0 || inodeCount < 11) throw damaged('it has no inodes');
  if (!isPowerOfTwo(inodeBytes) || inodeBytes < 128 || inodeBytes > blockBytes) {
    throw damaged(`inodes of ${inodeBytes} bytes`);
  }
  if (!isPowerOfTwo(descriptorBytes) || descriptorBytes < 32 || descriptorBytes > blockBytes) {
    throw damaged(`group descriptors of ${descriptorBytes} bytes`);
  }
  const uuid = bytes.subarray(0x68, 0x78);
  return {
    ...features,
    inodeCount,
    blockCount,
    blockBytes,
    firstDataBlock,
    blocksPerGroup,
    inodesPerGroup,
    groupCount: Math.ceil((blockCount - firstDataBlock) / blocksPerGroup),
    inodeBytes,
    descriptorBytes,
    firstMetaGroup: bytes.readUInt32LE(0x104),
    backupGroups: [bytes.readUInt32LE(0x24c), bytes.readUInt32LE(0x250)],
    journalInode: bytes.readUInt32LE(0xe0),
    label: textField(bytes, 0x78, 16),
    uuid: uuidOf(uuid),
    checksumSeed:
      (features.incompat & Incompat.ChecksumSeed) === 0 ? crc32c(uuid) : bytes.readUInt32LE(0x270),
  };
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
