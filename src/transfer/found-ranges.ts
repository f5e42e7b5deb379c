import { BLOCKS_PER_GIB, LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../ebs/constants.js';
import type { ChangedBlock, ListedBlock, SnapshotApi } from '../ebs/snapshot-api.js';
import { changedBlocksOf, type SnapshotPair } from '../snapshot/changed/changed-blocks.js';
import { PageLister, snapshotBlocksOf, type PageSource } from '../snapshot/page-lister.js';

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

/** What of a range lies before a block. */
export function clipped(range: FoundRange, endBlock: number): FoundRange {
  if (range.endBlock <= endBlock) return range;
  const runs = range.runs
    .filter(({ firstBlock }) => firstBlock < endBlock)
    .map((run) => (run.endBlock <= endBlock ? run : { ...run, endBlock }));
  return { firstBlock: range.firstBlock, endBlock, runs };
}

/** Something that can be listed from any block on. */
export interface RangeSource {
  /** Of the volume. */
  readonly blockCount: number;
  /** Begins a listing; no call is made yet. */
  walk(firstBlock: number): RangeWalk;
  /** Looks at a few blocks by one call. */
  probe(firstBlock: number, signal: AbortSignal): Promise<FoundRange>;
}

/** A listing, page by page to the end of the volume. */
export interface RangeWalk {
  /** Whether the last page was empty and not the last one: nothing says how far the listing has come. */
  readonly isLost: boolean;
  /**
   * Makes one list call.
   *
   * @returns the range that follows the last one; undefined after an empty page, which a later range will tell of.
   */
  next(signal: AbortSignal): Promise<FoundRange | undefined>;
}

/**
 * The blocks of a snapshot that were ever written. Its first page is listed now, and not again.
 *
 * @throws {EbsError} when it cannot be listed.
 */
export async function writtenRanges(
  api: SnapshotApi,
  snapshotId: string,
  signal: AbortSignal,
): Promise<RangeSource> {
  const pages = snapshotBlocksOf(api, snapshotId);
  const lister = new PageLister(pages);
  const firstPage = await lister.list(0, LIST_RESULTS_MAX, { signal });
  const first = { firstBlock: 0, endBlock: firstPage.endIndex, runs: runsOf(firstPage.blocks, writtenKind) };
  return {
    blockCount: (lister.volumeSizeGib ?? 0) * BLOCKS_PER_GIB,
    walk: (firstBlock) =>
      firstBlock === 0
        ? walkAfter(first, new PageWalk(pages, first.endBlock, writtenKind))
        : new PageWalk(pages, firstBlock, writtenKind),
    probe: async (firstBlock, stop) => {
      const { endIndex, blocks } = await lister.list(firstBlock, LIST_RESULTS_MIN, { signal: stop });
      return { firstBlock, endBlock: endIndex, runs: runsOf(blocks, writtenKind) };
    },
  };
}

/** The blocks in which two snapshots may differ, on a volume of so many blocks. */
export function changedRanges(api: SnapshotApi, pair: SnapshotPair, blockCount: number): RangeSource {
  const pages = changedBlocksOf(api, pair, blockCount / BLOCKS_PER_GIB);
  return {
    blockCount,
    walk: (firstBlock) => new PageWalk(pages, firstBlock, changedKind),
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

class PageWalk<Block extends Pick<ListedBlock, 'blockIndex'>> implements RangeWalk {
  readonly #lister: PageLister<Block>;
  readonly #kindOf: (block: Block) => RunKind;
  #firstBlock: number;

  constructor(pages: PageSource<Block>, firstBlock: number, kindOf: (block: Block) => RunKind) {
    this.#lister = new PageLister(pages);
    this.#firstBlock = firstBlock;
    this.#kindOf = kindOf;
  }

  get isLost(): boolean {
    return this.#lister.isAmongEmptyPages;
  }

  async next(signal: AbortSignal): Promise<FoundRange | undefined> {
    const firstBlock = this.#firstBlock;
    const page = await this.#lister.listPart(firstBlock, LIST_RESULTS_MAX, 1, { signal });
    if (page === undefined) return undefined;
    this.#firstBlock = page.endIndex;
    return { firstBlock, endBlock: page.endIndex, runs: runsOf(page.blocks, this.#kindOf) };
  }
}

/** A listing whose first page is known. */
function walkAfter(first: FoundRange, rest: RangeWalk): RangeWalk {
  let known: FoundRange | undefined = first;
  return {
    get isLost() {
      return rest.isLost;
    },
    next: async (signal) => {
      const range = known ?? (await rest.next(signal));
      known = undefined;
      return range;
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
