import { Lane } from '../util/limiter.js';
import type { BlockFetcher } from './block-fetcher.js';
import type { SnapshotDiskCache } from './disk/disk-cache.js';
import type { TokenMap } from './token-map.js';
import { BlockState } from './token-page.js';

/** Blocks that are on their way or being written at once, so that demand finds most of the places free. */
const IN_FLIGHT_MAX = 24;

export interface HydrationOptions {
  readonly tokens: TokenMap;
  readonly fetcher: BlockFetcher;
  readonly disk: SnapshotDiskCache;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** More would push out what was brought before. */
  readonly blocksMax: number;
}

/** What came of it. */
export interface HydrationResult {
  /** Blocks of the snapshot that are on disk now. */
  readonly blocks: number;
  /** Blocks of those that were fetched for it; the others were there. */
  readonly fetched: number;
  /** Whether the disk cache had room for all of it. */
  readonly isWhole: boolean;
}

/**
 * Brings a whole snapshot into the disk cache, in the order of the disk and behind demand. Blocks that are there are
 * not read for it.
 *
 * @throws {EbsError} when a block cannot be had; the signal's reason when it aborts.
 */
export async function hydrate(options: HydrationOptions): Promise<HydrationResult> {
  const { tokens, fetcher, disk, signal, blocksMax } = options;
  const result = { blocks: 0, fetched: 0, isWhole: true };
  let leftBlocks = blocksMax;
  const underWay = new Set<Promise<void>>();
  const failure: { error?: unknown } = {};
  const bring = async (blockIndex: number): Promise<void> => {
    if (!(await disk.has(blockIndex))) {
      await fetcher.fetch(blockIndex, Lane.Prefetch, false).block;
      result.fetched += 1;
    }
    result.blocks += 1;
  };
  let blockIndex = 0;
  while (blockIndex < tokens.blockCount && result.isWhole) {
    signal.throwIfAborted();
    const run = await tokens.learn(blockIndex, { bulk: true });
    if (run.state === BlockState.Unlisted) {
      blockIndex = run.endIndex;
      continue;
    }
    for (; blockIndex < run.endIndex; blockIndex += 1) {
      if (leftBlocks === 0) {
        result.isWhole = false;
        break;
      }
      leftBlocks -= 1;
      signal.throwIfAborted();
      if (underWay.size >= IN_FLIGHT_MAX) await Promise.race(underWay);
      if ('error' in failure) throw failure.error;
      const brought = bring(blockIndex)
        .catch((error: unknown) => void (failure.error = error))
        .finally(() => underWay.delete(brought));
      underWay.add(brought);
    }
  }
  await Promise.all(underWay);
  if ('error' in failure) throw failure.error;
  await disk.settled();
  return result;
}
