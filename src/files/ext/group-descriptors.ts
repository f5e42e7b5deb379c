import { crc32c, crc32cOfUint32 } from '../crc32c.js';
import { damaged } from '../file-error.js';
import type { ExtBlocks } from './blocks.js';
import { Compat, Incompat, RoCompat } from './features.js';
import type { ExtSuperblock } from './superblock.js';

/**
 * Where the inodes of a group begin.
 *
 * @returns the block that the inode table of the group starts at.
 * @throws {FileError} `EIO` for a group that does not exist, or whose descriptor has a wrong checksum.
 */
export async function inodeTableOf(
  group: number,
  superblock: ExtSuperblock,
  blocks: ExtBlocks,
  signal?: AbortSignal,
): Promise<number> {
  const { blockBytes, descriptorBytes, groupCount, incompat, roCompat, checksumSeed } = superblock;
  if (group >= groupCount) throw damaged(`group ${group} of ${groupCount}`);
  const perBlock = blockBytes / descriptorBytes;
  const block = descriptorBlockOf(Math.floor(group / perBlock), perBlock, superblock);
  const start = (group % perBlock) * descriptorBytes;
  const bytes = await blocks.readPart(block, start, descriptorBytes, signal);
  if ((roCompat & RoCompat.MetadataChecksum) !== 0) {
    const expected = bytes.readUInt16LE(0x1e);
    const blank = Buffer.from(bytes);
    blank.writeUInt16LE(0, 0x1e);
    if ((crc32c(blank, crc32cOfUint32(group, checksumSeed)) & 0xffff) !== expected) {
      throw damaged(`the checksum of the descriptor of group ${group} is wrong`);
    }
  }
  const isWide = (incompat & Incompat.Is64Bit) !== 0 && descriptorBytes >= 64;
  return bytes.readUInt32LE(0x8) + (isWide ? bytes.readUInt32LE(0x28) : 0) * 2 ** 32;
}

/** Descriptors follow the superblock, or, under meta_bg, lie in the first group of those that they describe. */
function descriptorBlockOf(index: number, perBlock: number, superblock: ExtSuperblock): number {
  const { firstDataBlock, blockBytes, incompat, firstMetaGroup, blocksPerGroup } = superblock;
  if ((incompat & Incompat.MetaBg) === 0 || index < firstMetaGroup) {
    // Blocks of 1 KiB without a first data block (bigalloc) leave block 0 to the boot sector all the same.
    return (blockBytes === 1024 ? 1 : 0) + 1 + index;
  }
  const group = index * perBlock;
  return firstDataBlock + group * blocksPerGroup + (hasSuperblock(group, superblock) ? 1 : 0);
}

function hasSuperblock(group: number, { compat, roCompat, backupGroups }: ExtSuperblock): boolean {
  if (group === 0) return true;
  if ((compat & Compat.SparseSuper2) !== 0) return backupGroups.includes(group);
  if (group === 1 || (roCompat & RoCompat.SparseSuper) === 0) return true;
  return [3, 5, 7].some((base) => isPowerOf(group, base));
}

function isPowerOf(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}
