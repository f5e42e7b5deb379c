import { crc32c } from '../crc32c.js';
import { damaged } from '../file-error.js';
import { RoCompat } from './features.js';
import type { ExtBlocks } from './blocks.js';
import type { ExtInode } from './inode.js';
import type { BlockSpan, MappedRun } from './mapped-run.js';

const MAGIC = 0xf30a;
const HEADER_BYTES = 12;
const ENTRY_BYTES = 12;
const DEPTH_MAX = 5;
/** Longer means: allocated and not written, by what it is longer. */
const INITIALIZED_MAX = 32_768;

interface Walk {
  readonly inode: ExtInode;
  readonly blocks: ExtBlocks;
  readonly span: BlockSpan;
  readonly hasChecksums: boolean;
  readonly signal: AbortSignal | undefined;
}

/** The file blocks that a node may speak of, by the node above it. */
interface Bounds {
  readonly low: number;
  readonly high: number;
}

/**
 * Walks the extent tree of an inode: the mapped runs of `span`, in order. Each node has to keep to the bounds that
 * the node above it gives and to be one level lower, so that no image can make a walk that does not end.
 */
export function extentRuns(
  inode: ExtInode,
  blocks: ExtBlocks,
  options: { readonly span: BlockSpan; readonly roCompat: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<MappedRun> {
  const walk: Walk = {
    inode,
    blocks,
    span: options.span,
    hasChecksums: (options.roCompat & RoCompat.MetadataChecksum) !== 0,
    signal: options.signal,
  };
  return nodeRuns(inode.block, undefined, { low: 0, high: 2 ** 32 }, walk);
}

async function* nodeRuns(
  node: Buffer,
  depthExpected: number | undefined,
  bounds: Bounds,
  walk: Walk,
): AsyncGenerator<MappedRun> {
  const entryCount = node.readUInt16LE(2);
  const depth = node.readUInt16LE(6);
  const isRoot = depthExpected === undefined;
  const isSound =
    node.readUInt16LE(0) === MAGIC &&
    entryCount <= Math.floor((node.length - HEADER_BYTES) / ENTRY_BYTES) &&
    (isRoot ? depth <= DEPTH_MAX : depth === depthExpected && entryCount > 0);
  if (!isSound) throw damaged(`the extents of inode ${walk.inode.stat.inodeNumber}`);
  if (depth === 0) yield* leafRuns(node, entryCount, bounds, walk);
  else yield* indexRuns(node, { entryCount, depth }, bounds, walk);
}

async function* indexRuns(
  node: Buffer,
  { entryCount, depth }: { readonly entryCount: number; readonly depth: number },
  bounds: Bounds,
  walk: Walk,
): AsyncGenerator<MappedRun> {
  let low = bounds.low;
  for (let index = 0; index < entryCount; index += 1) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    const start = node.readUInt32LE(at);
    const high = index + 1 < entryCount ? node.readUInt32LE(at + ENTRY_BYTES) : bounds.high;
    if (start < low || high <= start || high > bounds.high) {
      throw damaged(`the extents of inode ${walk.inode.stat.inodeNumber} are not in order`);
    }
    low = high;
    if (high <= walk.span.start) continue;
    if (start >= walk.span.end) return;
    const child = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
    const bytes = await walk.blocks.read(child, walk.signal);
    if (walk.hasChecksums) checkNode(bytes, walk.inode);
    yield* nodeRuns(bytes, depth - 1, { low: start, high }, walk);
  }
}

function* leafRuns(node: Buffer, entryCount: number, bounds: Bounds, walk: Walk): Generator<MappedRun> {
  const { span } = walk;
  let low = bounds.low;
  for (let index = 0; index < entryCount; index += 1) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    const fileBlock = node.readUInt32LE(at);
    const rawCount = node.readUInt16LE(at + 4);
    const isWritten = rawCount <= INITIALIZED_MAX;
    const count = isWritten ? rawCount : rawCount - INITIALIZED_MAX;
    const diskBlock = node.readUInt32LE(at + 8) + node.readUInt16LE(at + 6) * 2 ** 32;
    if (count === 0 || fileBlock < low || fileBlock + count > bounds.high) {
      throw damaged(`the extents of inode ${walk.inode.stat.inodeNumber} are not in order`);
    }
    walk.blocks.check(diskBlock, count);
    low = fileBlock + count;
    const start = Math.max(fileBlock, span.start);
    const end = Math.min(low, span.end);
    if (start < end) {
      yield {
        fileBlock: start,
        count: end - start,
        diskBlock: isWritten ? diskBlock + (start - fileBlock) : undefined,
      };
    }
  }
}

/** The checksum stands behind the room for entries. */
function checkNode(node: Buffer, inode: ExtInode): void {
  const tailStart = HEADER_BYTES + node.readUInt16LE(4) * ENTRY_BYTES;
  if (
    tailStart + 4 > node.length ||
    crc32c(node.subarray(0, tailStart), inode.checksumSeed) !== node.readUInt32LE(tailStart)
  ) {
    throw damaged(`the checksum of a block of extents of inode ${inode.stat.inodeNumber} is wrong`);
  }
}
