import { BLOCKS_PER_GIB, LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../ebs/constants.js';
import type { ChangedBlock, ListedBlock, SnapshotApi } from '../ebs/snapshot-api.js';
import { changedBlocksOf, type SnapshotPair } from '../snapshot/changed/changed-blocks.js';
import { PageLister, snapshotBlocksOf } from '../snapshot/page-lister.js';

/** What a run of blocks is. */
export const RunKind = {
  /** Written at some time. */
  Data: 'data',
  /** Data in both snapshots, which may differ. */
  Changed: 'changed',
  /** Data in the newer one alone. */
  Added: 'added',
  /** Data in the older one alone: it became zeros. */
  Zeroed: 'zeroed',
} as const;
export type RunKind = (typeof RunKind)[keyof typeof RunKind];

/** Blocks beside each other, from `firstBlock` up to, without, `endBlock`. */
export interface FoundRun {
  readonly firstBlock: number;
  readonly endBlock: number;
  readonly kind: RunKind;
}

/** What a list call said about the blocks from `firstBlock` up to `endBlock`: those that are in no run are nothing. */
export interface FoundRange {
  readonly firstBlock: number;
  readonly endBlock: number;
  readonly runs: readonly FoundRun[];
}

/** Something that can be listed from any block on. */
export interface RangeSource {
  /** Of the volume. */
  readonly blockCount: number;
  /** Lists as much as one page holds. */
  list(firstBlock: number, signal: AbortSignal): Promise<FoundRange>;
  /** Looks at a few blocks by one call. */
  probe(firstBlock: number, signal: AbortSignal): Promise<FoundRange>;
}

/**
 * The blocks of a snapshot that were ever written.
 *
 * @throws {EbsError} when it cannot be listed.
 */
export async function writtenRanges(
  api: SnapshotApi,
  snapshotId: string,
  signal: AbortSignal,
): Promise<RangeSource> {
  const lister = new PageLister(snapshotBlocksOf(api, snapshotId));
  const listed = async (firstBlock: number, resultsMax: number, stop: AbortSignal): Promise<FoundRange> => {
    const { endIndex, blocks } = await lister.list(firstBlock, resultsMax, { signal: stop });
    return { firstBlock, endBlock: endIndex, runs: runsOf(blocks, writtenKind) };
  };
  await lister.list(0, LIST_RESULTS_MIN, { signal });
  return {
    blockCount: (lister.volumeSizeGib ?? 0) * BLOCKS_PER_GIB,
    list: (firstBlock, stop) => listed(firstBlock, LIST_RESULTS_MAX, stop),
    probe: (firstBlock, stop) => listed(firstBlock, LIST_RESULTS_MIN, stop),
  };
}

/** The blocks in which two snapshots may differ, on a volume of so many blocks. */
export function changedRanges(api: SnapshotApi, pair: SnapshotPair, blockCount: number): RangeSource {
  const pages = changedBlocksOf(api, pair, blockCount / BLOCKS_PER_GIB);
  const lister = new PageLister(pages);
  return {
    blockCount,
    list: async (firstBlock, signal) => {
      const { endIndex, blocks } = await lister.list(firstBlock, LIST_RESULTS_MAX, { signal });
      return { firstBlock, endBlock: endIndex, runs: runsOf(blocks, changedKind) };
    },
    probe: async (firstBlock, signal) => {
      const position = { resultsMax: LIST_RESULTS_MIN, startingBlockIndex: firstBlock };
      const { blocks, nextToken } = await pages.list(position, { signal });
      // A page is about so many candidates at least, and of those no two are one block.
      const candidates = Math.min(blockCount, firstBlock + LIST_RESULTS_MIN);
      const endBlock =
        nextToken === undefined ? blockCount : Math.max(candidates, (blocks.at(-1)?.blockIndex ?? 0) + 1);
      return { firstBlock, endBlock, runs: runsOf(blocks, changedKind) };
    },
  };
}

function writtenKind(): RunKind {
  return RunKind.Data;
}

function changedKind({ firstBlockToken, secondBlockToken }: ChangedBlock): RunKind {
  if (secondBlockToken === undefined) return RunKind.Zeroed;
  return firstBlockToken === undefined ? RunKind.Added : RunKind.Changed;
}

function runsOf<Block extends Pick<ListedBlock, 'blockIndex'>>(
  blocks: readonly Block[],
  kindOf: (block: Block) => RunKind,
): readonly FoundRun[] {
  const runs: { firstBlock: number; endBlock: number; kind: RunKind }[] = [];
  for (const block of blocks) {
    const { blockIndex } = block;
    const kind = kindOf(block);
    const last = runs.at(-1);
    if (last?.endBlock === blockIndex && last.kind === kind) last.endBlock += 1;
    else runs.push({ firstBlock: blockIndex, endBlock: blockIndex + 1, kind });
  }
  return runs;
}
