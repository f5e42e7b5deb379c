import { crc32c, crc32cOfUint32 } from '../crc32c.js';
import { damaged } from '../file-error.js';
import { FileKind, type FileStat, type FileTime } from '../filesystem.js';
import { ATTRIBUTE_MAGIC, attributeEntries, AttributePrefix } from './attribute-format.js';
import { Incompat, InodeFlag, RoCompat } from './features.js';
import type { ExtSuperblock } from './superblock.js';

/** An inode as it was read: what everybody may know, and what only the reader of its blocks needs. */
export interface ExtInode {
  readonly stat: FileStat;
  readonly flags: number;
  /** The 60 bytes that hold the root of the block map, a short symbolic link, or the begin of inline data. */
  readonly block: Buffer;
  /** The whole inode. */
  readonly bytes: Buffer;
  /** Bytes of `bytes` before its extended attributes; 0 where there is no room for them. */
  readonly attributesStart: number;
  /** What checksums of this inode's blocks begin with. */
  readonly checksumSeed: number;
}

const KINDS: Readonly<Record<number, FileKind>> = {
  0x1000: FileKind.Fifo,
  0x2000: FileKind.CharacterDevice,
  0x4000: FileKind.Directory,
  0x6000: FileKind.BlockDevice,
  0x8000: FileKind.File,
  0xa000: FileKind.Symlink,
  0xc000: FileKind.Socket,
};

/** Files end where their block numbers, 32 bits wide, do. */
const FILE_BLOCKS_MAX = 2 ** 32;

/**
 * Reads an inode.
 *
 * @throws {FileError} `EIO` when its checksum is wrong, or its kind or size is impossible.
 */
export function decodeInode(inodeNumber: number, bytes: Buffer, superblock: ExtSuperblock): ExtInode {
  const extraBytes = bytes.length > 128 ? bytes.readUInt16LE(0x80) : 0;
  if (extraBytes > bytes.length - 128 || extraBytes % 4 !== 0) {
    throw damaged(`inode ${inodeNumber} claims ${extraBytes} extra bytes`);
  }
  const checksumSeed = inodeSeed(inodeNumber, bytes, superblock);
  if ((superblock.roCompat & RoCompat.MetadataChecksum) !== 0) {
    checkInode(inodeNumber, bytes, extraBytes, checksumSeed);
  }
  const rawMode = bytes.readUInt16LE(0);
  const kind = KINDS[rawMode & 0xf000];
  if (kind === undefined) throw damaged(`inode ${inodeNumber} is of no known kind`);
  const flags = bytes.readUInt32LE(0x20);
  const hasExtra = (end: number): boolean => 128 + extraBytes >= end;
  const time = (field: number, extraField: number): FileTime =>
    timeOf(bytes.readInt32LE(field), hasExtra(extraField + 4) ? bytes.readUInt32LE(extraField) : 0);
  const stat: FileStat = {
    inodeNumber,
    kind,
    mode: rawMode & 0o7777,
    uid: bytes.readUInt16LE(0x2) + bytes.readUInt16LE(0x78) * 65_536,
    gid: bytes.readUInt16LE(0x18) + bytes.readUInt16LE(0x7a) * 65_536,
    sizeBytes: sizeOf(inodeNumber, kind, bytes, superblock),
    allocatedBytes: allocatedBytesOf(bytes, flags, superblock),
    linkCount: bytes.readUInt16LE(0x1a),
    accessTime: time(0x8, 0x8c),
    modifyTime: time(0x10, 0x88),
    changeTime: time(0xc, 0x84),
    birthTime: hasExtra(0x98) ? time(0x90, 0x94) : undefined,
    device: kind === FileKind.CharacterDevice || kind === FileKind.BlockDevice ? deviceOf(bytes) : undefined,
  };
  return {
    stat,
    flags,
    block: bytes.subarray(0x28, 0x64),
    bytes,
    attributesStart: bytes.length > 128 ? 128 + extraBytes : 0,
    checksumSeed,
  };
}

function inodeSeed(inodeNumber: number, bytes: Buffer, { checksumSeed }: ExtSuperblock): number {
  return crc32c(bytes.subarray(0x64, 0x68), crc32cOfUint32(inodeNumber, checksumSeed));
}

function checkInode(inodeNumber: number, bytes: Buffer, extraBytes: number, seed: number): void {
  const blank = Buffer.from(bytes);
  blank.writeUInt16LE(0, 0x7c);
  const isWide = bytes.length > 128 && extraBytes >= 4;
  if (isWide) blank.writeUInt16LE(0, 0x82);
  const expected = bytes.readUInt16LE(0x7c) + (isWide ? bytes.readUInt16LE(0x82) * 65_536 : 0);
  const found = crc32c(blank, seed);
  if ((isWide ? found : found & 0xffff) !== expected) {
    throw damaged(`the checksum of inode ${inodeNumber} is wrong`);
  }
}

/** Seconds have 34 bits where there is an extra field, of which the lowest 32 are signed. */
function timeOf(seconds: number, extra: number): FileTime {
  return { seconds: seconds + (extra & 3) * 2 ** 32, nanoseconds: Math.min(extra >>> 2, 999_999_999) };
}

function sizeOf(inodeNumber: number, kind: FileKind, bytes: Buffer, superblock: ExtSuperblock): number {
  // The upper half meant something else in directories before they could be large.
  const isWide = kind === FileKind.File || (superblock.incompat & Incompat.LargeDirectory) !== 0;
  const high = isWide ? bytes.readUInt32LE(0x6c) : 0;
  const sizeBytes = high > 0x1fffff ? Number.NaN : high * 2 ** 32 + bytes.readUInt32LE(0x4);
  if (!(sizeBytes <= FILE_BLOCKS_MAX * superblock.blockBytes)) {
    throw damaged(`inode ${inodeNumber} claims an impossible size`);
  }
  return sizeBytes;
}

function allocatedBytesOf(bytes: Buffer, flags: number, superblock: ExtSuperblock): number {
  const count = bytes.readUInt32LE(0x1c) + bytes.readUInt16LE(0x74) * 2 ** 32;
  return count * ((flags & InodeFlag.HugeFile) === 0 ? 512 : superblock.blockBytes);
}

/** Old numbers (8 and 8 bits) are in the first word, new ones (12 and 20 bits) in the second. */
function deviceOf(bytes: Buffer): { readonly major: number; readonly minor: number } {
  const old = bytes.readUInt32LE(0x28);
  if (old !== 0) return { major: (old >>> 8) & 0xff, minor: old & 0xff };
  const wide = bytes.readUInt32LE(0x2c);
  return { major: (wide >>> 8) & 0xfff, minor: (wide & 0xff) | ((wide >>> 12) & 0xfff00) };
}

/** The first 60 bytes of an inode's content, and where the rest of an inline file lies. */
export function inlineDataOf(inode: ExtInode): Buffer {
  const { sizeBytes, inodeNumber } = inode.stat;
  if (sizeBytes <= inode.block.length) return inode.block.subarray(0, sizeBytes);
  const rest = inlineAttributeOf(inode);
  if (rest === undefined || inode.block.length + rest.length < sizeBytes) {
    throw damaged(`inode ${inodeNumber} lacks the rest of its inline data`);
  }
  return Buffer.concat([inode.block, rest]).subarray(0, sizeBytes);
}

/** The attribute `system.data` in the inode itself, which is the only place for it. */
export function inlineAttributeOf({ bytes, attributesStart }: ExtInode): Buffer | undefined {
  if (attributesStart === 0 || attributesStart + 4 > bytes.length) return undefined;
  if (bytes.readUInt32LE(attributesStart) !== ATTRIBUTE_MAGIC) return undefined;
  const first = attributesStart + 4;
  for (const { prefixIndex, suffix, value } of attributeEntries(bytes, first, first)) {
    if (prefixIndex === AttributePrefix.System && suffix.toString('latin1') === 'data') return value;
  }
  return undefined;
}
