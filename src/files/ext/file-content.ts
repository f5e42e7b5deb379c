import type { ReadChunk } from '../../device/block-device.js';
import { damaged, unsupported } from '../file-error.js';
import type { ExtBlocks } from './blocks.js';
import { extentRuns } from './extents.js';
import { InodeFlag } from './features.js';
import { indirectRuns } from './indirect-blocks.js';
import { inlineDataOf, type ExtInode } from './inode.js';
import type { BlockSpan, MappedRun } from './mapped-run.js';

/** What reading a file's blocks needs beside its inode. */
export interface ContentContext {
  readonly blocks: ExtBlocks;
  readonly roCompat: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * The mapped blocks of a file within `span`, in order.
 *
 * No ext filesystem shares blocks among files or within one. A file that maps more blocks than there are is therefore
 * damaged, which bounds how much can come out of an image.
 */
export async function* mappedRuns(
  inode: ExtInode,
  { blocks, roCompat, signal }: ContentContext,
  span: BlockSpan,
): AsyncGenerator<MappedRun> {
  const hasExtents = (inode.flags & InodeFlag.Extents) !== 0;
  const runs = hasExtents
    ? extentRuns(inode, blocks, { span, roCompat, signal })
    : indirectRuns(inode, blocks, { span, signal });
  let mappedCount = 0;
  for await (const run of runs) {
    mappedCount += run.count;
    if (mappedCount > blocks.blockCount) {
      throw damaged(`inode ${inode.stat.inodeNumber} has more blocks than the filesystem`);
    }
    yield run;
  }
}

/**
 * The content of [offset, end) of a file, in order, with holes and blocks that were never written as runs of zeros.
 *
 * @param end at most the size of the file.
 */
export async function* readContent(
  inode: ExtInode,
  context: ContentContext,
  offset: number,
  end: number,
): AsyncGenerator<ReadChunk> {
  refuseUnreadable(inode);
  if (offset >= end) return;
  if ((inode.flags & InodeFlag.InlineData) !== 0) {
    yield inlineDataOf(inode).subarray(offset, end);
    return;
  }
  const { blockBytes } = context.blocks;
  const span = { start: Math.floor(offset / blockBytes), end: Math.ceil(end / blockBytes) };
  let at = offset;
  for await (const run of mappedRuns(inode, context, span)) {
    const start = run.fileBlock * blockBytes;
    if (start > at) {
      yield { zeroBytes: start - at };
      at = start;
    }
    for await (const chunk of runContent(run, context)) {
      const chunkStart = chunk.start;
      const from = Math.max(at, chunkStart);
      const to = Math.min(end, chunkStart + lengthOf(chunk.chunk));
      if (from >= to) continue;
      yield cut(chunk.chunk, from - chunkStart, to - chunkStart);
      at = to;
    }
  }
  if (at < end) yield { zeroBytes: end - at };
}

async function* runContent(
  { fileBlock, diskBlock, count }: MappedRun,
  { blocks, signal }: ContentContext,
): AsyncGenerator<{ readonly start: number; readonly chunk: ReadChunk }> {
  let start = fileBlock * blocks.blockBytes;
  if (diskBlock === undefined) {
    yield { start, chunk: { zeroBytes: count * blocks.blockBytes } };
    return;
  }
  for await (const chunk of blocks.readRun(diskBlock, count, signal)) {
    yield { start, chunk };
    start += lengthOf(chunk);
  }
}

function lengthOf(chunk: ReadChunk): number {
  return chunk instanceof Uint8Array ? chunk.length : chunk.zeroBytes;
}

function cut(chunk: ReadChunk, start: number, end: number): ReadChunk {
  return chunk instanceof Uint8Array ? chunk.subarray(start, end) : { zeroBytes: end - start };
}

function refuseUnreadable({ flags, stat }: ExtInode): void {
  if ((flags & InodeFlag.Encrypted) !== 0) {
    throw unsupported(
      `Cannot read inode ${stat.inodeNumber}: the filesystem encrypts it, with a key that only its system has.`,
    );
  }
  if ((flags & InodeFlag.Compressed) !== 0) {
    throw unsupported(
      `Cannot read inode ${stat.inodeNumber}: it is compressed by a patch that Linux never had.`,
    );
  }
}
