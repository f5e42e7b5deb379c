import { damaged } from '../file-error.js';
import type { ExtBlocks } from './blocks.js';
import type { ExtInode } from './inode.js';
import type { BlockSpan, MappedRun } from './mapped-run.js';

/** Pointers in the inode that lead to data directly; the three behind them lead to blocks of pointers. */
const DIRECT_COUNT = 12;
const POINTER_BYTES = 4;

/**
 * Walks the block pointers of ext2 and ext3: the mapped runs of `span`, in order. A pointer of zero is a hole, at
 * whatever level.
 */
export async function* indirectRuns(
  inode: ExtInode,
  blocks: ExtBlocks,
  options: { readonly span: BlockSpan; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<MappedRun> {
  let run: MappedRun | undefined;
  for await (const { fileBlock, diskBlock } of mappedBlocks(inode, blocks, options)) {
    if (run?.diskBlock !== undefined && run.fileBlock + run.count === fileBlock) {
      if (run.diskBlock + run.count === diskBlock) {
        run = { ...run, count: run.count + 1 };
        continue;
      }
    }
    if (run !== undefined) yield run;
    run = { fileBlock, diskBlock, count: 1 };
  }
  if (run !== undefined) yield run;
}

interface MappedBlock {
  readonly fileBlock: number;
  readonly diskBlock: number;
}

async function* mappedBlocks(
  inode: ExtInode,
  blocks: ExtBlocks,
  { span, signal }: { readonly span: BlockSpan; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<MappedBlock> {
  const perBlock = blocks.blockBytes / POINTER_BYTES;
  let tableCount = 0;
  const readTable = async (diskBlock: number): Promise<Buffer> => {
    tableCount += 1;
    // Tables that share blocks make a few of them look like billions, all of them without a block of data.
    if (tableCount > blocks.blockCount) {
      throw damaged(
        `inode ${inode.stat.inodeNumber} has more blocks of pointers than the filesystem has blocks`,
      );
    }
    return blocks.read(diskBlock, signal);
  };
  const walk = { blocks, span, perBlock, readTable };
  yield* pointerRuns(inode.block.subarray(0, DIRECT_COUNT * POINTER_BYTES), 0, 1, walk);
  let first = DIRECT_COUNT;
  for (let level = 1; level <= 3; level += 1) {
    const at = (DIRECT_COUNT + level - 1) * POINTER_BYTES;
    const reach = perBlock ** level;
    yield* pointerRuns(inode.block.subarray(at, at + POINTER_BYTES), first, reach, walk);
    first += reach;
  }
}

interface Walk {
  readonly blocks: ExtBlocks;
  readonly span: BlockSpan;
  readonly perBlock: number;
  /** Reads a block of pointers, within a bound for the whole walk. */
  readonly readTable: (diskBlock: number) => Promise<Buffer>;
}

/** The pointers of `table`, of which each covers `reach` blocks of the file, the first of them from `first` on. */
async function* pointerRuns(
  table: Buffer,
  first: number,
  reach: number,
  walk: Walk,
): AsyncGenerator<MappedBlock> {
  const { blocks, span, perBlock, readTable } = walk;
  const count = table.length / POINTER_BYTES;
  let index = Math.max(0, Math.floor((span.start - first) / reach));
  for (; index < count; index += 1) {
    const fileBlock = first + index * reach;
    if (fileBlock >= span.end) return;
    const diskBlock = table.readUInt32LE(index * POINTER_BYTES);
    if (diskBlock === 0) continue;
    blocks.check(diskBlock, 1);
    if (reach === 1) yield { fileBlock, diskBlock };
    else yield* pointerRuns(await readTable(diskBlock), fileBlock, reach / perBlock, walk);
  }
}
