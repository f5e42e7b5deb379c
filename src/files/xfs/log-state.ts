import { damaged } from '../file-error.js';
import type { VolumeReader } from '../volume-reader.js';

/** The log counts in blocks of this size, whatever those of the filesystem are. */
const LOG_BLOCK_BYTES = 512;
/** Headers begin with it; all other blocks begin with the number of their cycle. */
const HEADER_MAGIC = 0xfeedbabe;
/** A record is 256 KiB at most, and its headers are 8 blocks. */
const RECORD_BLOCKS_MAX = 520;
/** A header describes 32 KiB; a record that is larger has several. */
const HEADER_COVERS_BYTES = 32_768;
/** The flag of an operation that says that the filesystem was unmounted: `XLOG_UNMOUNT_TRANS`. */
const UNMOUNT_FLAG = 0x20;

/**
 * Finds out whether the log of an XFS filesystem ends with the record of an unmount, as the kernel does before it mounts
 * (fs/xfs/xfs_log_recover.c): if not, it would be replayed. The end is where the number of the cycle goes down, and is
 * found by halving: some twenty reads.
 *
 * @returns true when there is something to replay, or what is there cannot be told; false for a log on another disk.
 * @throws {FileError} `EIO` for a superblock that makes no sense, and what the device throws.
 */
export async function needsLogReplay(volume: VolumeReader, signal?: AbortSignal): Promise<boolean> {
  const log = logOf(await volume.read(0, 512, signal));
  if (log === undefined) return false;
  const read = (block: number, count: number): Promise<Buffer> =>
    volume.read(log.offset + block * LOG_BLOCK_BYTES, count * LOG_BLOCK_BYTES, signal);
  const cycle = cycleOf(await read(0, 1));
  // A log that was never written to.
  if (cycle === 0) return false;
  let [head, end] = [1, log.blockCount];
  while (head < end) {
    const middle = Math.floor((head + end) / 2);
    if (cycleOf(await read(middle, 1)) === cycle) head = middle + 1;
    else end = middle;
  }
  const first = Math.max(0, head - RECORD_BLOCKS_MAX);
  // A record may begin at the end of the log and go on at its beginning.
  const wrappedCount = Math.min(RECORD_BLOCKS_MAX - (head - first), log.blockCount - head);
  const parts = [await read(log.blockCount - wrappedCount, wrappedCount), await read(first, head - first)];
  return !endsWithUnmount(Buffer.concat(parts));
}

/** @returns undefined where the log is on another disk. */
function logOf(superblock: Buffer): { readonly offset: number; readonly blockCount: number } | undefined {
  const blockBytes = superblock.readUInt32BE(4);
  const start = superblock.readBigUInt64BE(48);
  if (start === 0n) return undefined;
  const groupBlocks = superblock.readUInt32BE(84);
  const blockCount = (superblock.readUInt32BE(96) * blockBytes) / LOG_BLOCK_BYTES;
  // The upper bits of a block's number are the allocation group, the lower ones its place in that.
  const shift = BigInt(superblock.readUInt8(124));
  const group = Number(start >> shift);
  const offset = (group * groupBlocks + Number(start & ((1n << shift) - 1n))) * blockBytes;
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(blockCount) || blockCount < 2) {
    throw damaged('the superblock places the log where it cannot be');
  }
  return { offset, blockCount };
}

function cycleOf(block: Buffer): number {
  const word = block.readUInt32BE(0);
  return word === HEADER_MAGIC ? block.readUInt32BE(4) : word;
}

/** Looks for the last record, which has to be that of an unmount and fill the log up to its end. */
function endsWithUnmount(tail: Buffer): boolean {
  for (let at = tail.length - LOG_BLOCK_BYTES; at >= 0; at -= LOG_BLOCK_BYTES) {
    if (tail.readUInt32BE(at) !== HEADER_MAGIC) continue;
    const isSecondVersion = (tail.readUInt32BE(at + 8) & 2) !== 0;
    const sizeBytes = isSecondVersion ? tail.readUInt32BE(at + 320) : 0;
    const headerBytes = Math.max(1, Math.ceil(sizeBytes / HEADER_COVERS_BYTES)) * LOG_BLOCK_BYTES;
    const content = at + headerBytes;
    const end = content + tail.readUInt32BE(at + 12);
    const hasOne = tail.readUInt32BE(at + 40) === 1;
    return hasOne && end === tail.length && (tail.readUInt8(content + 9) & UNMOUNT_FLAG) !== 0;
  }
  return false;
}
