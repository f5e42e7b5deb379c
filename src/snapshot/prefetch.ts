import { BLOCK_BYTES } from '../ebs/constants.js';
import { assert } from '../util/assert.js';
import { Lane } from '../util/limiter.js';
import type { SnapshotCache } from './block-cache.js';
import type { BlockFetcher, PendingBlock } from './block-fetcher.js';
import type { TokenMap } from './token-map.js';
import { BlockState } from './token-page.js';

/** Fetches ahead of one request that wait or run at once; each may hold a block. */
const WINDOW_BLOCKS = 64;

export interface PrefetchOptions {
  readonly tokens: TokenMap;
  readonly fetcher: BlockFetcher;
  readonly cache: SnapshotCache;
  /** Blocks beyond this many would only push one another out of the cache. */
  readonly blocksMax: number;
}

/**
 * Brings the listed blocks of a range into the cache, behind demand and a window at a time, up to as many as the cache
 * can hold. Ends early without an error where going on would be of no use.
 *
 * @param endIndex one past the last block.
 * @throws {EbsError} when a block cannot be had; the signal's reason when it aborts.
 */
export async function prefetchBlocks(
  { tokens, fetcher, cache, blocksMax }: PrefetchOptions,
  startIndex: number,
  endIndex: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pending: PendingBlock[] = [];
  let budgetBlocks = blocksMax;
  try {
    let blockIndex = startIndex;
    while (blockIndex < endIndex && budgetBlocks > 0) {
      signal?.throwIfAborted();
      const run = await tokens.learn(blockIndex, { bulk: true });
      const runEnd = Math.min(endIndex, run.endIndex);
      if (run.state === BlockState.Unlisted) {
        blockIndex = runEnd;
        continue;
      }
      for (; blockIndex < runEnd && budgetBlocks > 0; blockIndex += 1) {
        budgetBlocks -= 1;
        if (cache.has(blockIndex)) continue;
        if (pending.length === WINDOW_BLOCKS) await oldestOf(pending, signal);
        pending.push(fetcher.fetch(blockIndex, Lane.Prefetch));
      }
    }
    while (pending.length > 0) await oldestOf(pending, signal);
  } finally {
    for (const fetched of pending) fetched.cancel();
  }
}

/** How many blocks a cache of that size can hold. */
export function blocksIn(cacheBytesMax: number): number {
  return Math.floor(cacheBytesMax / BLOCK_BYTES);
}

async function oldestOf(pending: PendingBlock[], signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const oldest = pending[0];
  assert(oldest !== undefined, 'a fetch is under way');
  await oldest.block;
  pending.shift();
}
