import { BLOCK_BYTES } from '../ebs/constants.js';
import { onAbort } from '../util/abort-callbacks.js';
import { Lane, type Limiter } from '../util/limiter.js';
import type { SnapshotCache } from './block-cache.js';
import type { BlockFetcher } from './block-fetcher.js';
import type { TokenMap } from './token-map.js';
import { BlockState } from './token-page.js';

/** Blocks that one request has asked for at a time. */
const WINDOW_BLOCKS = 64;

export interface PrefetchOptions {
  readonly tokens: TokenMap;
  readonly fetcher: BlockFetcher;
  readonly cache: SnapshotCache;
  /** Bounds what all requests of the process fetch at once: each fetch holds a block. */
  readonly places: Limiter;
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
  { tokens, fetcher, cache, places, blocksMax }: PrefetchOptions,
  startIndex: number,
  endIndex: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const giveUp = new AbortController();
  const leave = onAbort(signal, () => giveUp.abort(signal?.reason));
  // No block is held here: who reads it finds it in the cache.
  const bring = async (blockIndex: number): Promise<void> => {
    if (cache.has(blockIndex)) return;
    const fetched = fetcher.fetch(blockIndex, Lane.Prefetch);
    const leave = onAbort(giveUp.signal, () => fetched.cancel());
    await fetched.block.finally(() => {
      leave();
      fetched.cancel();
    });
  };
  try {
    signal?.throwIfAborted();
    let budgetBlocks = blocksMax;
    let blockIndex = startIndex;
    while (blockIndex < endIndex && budgetBlocks > 0) {
      const run = await tokens.learn(blockIndex, { bulk: true });
      const runEnd = Math.min(endIndex, run.endIndex);
      if (run.state === BlockState.Unlisted) blockIndex = runEnd;
      for (; blockIndex < runEnd && budgetBlocks > 0; blockIndex += 1) {
        giveUp.signal.throwIfAborted();
        budgetBlocks -= 1;
        if (cache.has(blockIndex)) continue;
        if (underWay.size >= WINDOW_BLOCKS) await Promise.race(underWay);
        const index = blockIndex;
        const brought = places
          .run(() => bring(index), Lane.Prefetch, giveUp.signal)
          .catch((error: unknown) => giveUp.abort(error))
          .finally(() => underWay.delete(brought));
        underWay.add(brought);
      }
    }
    await Promise.all(underWay);
    giveUp.signal.throwIfAborted();
  } catch (error) {
    giveUp.abort(error);
    throw giveUp.signal.reason;
  } finally {
    leave();
  }
}

/** How many blocks a cache of that size can hold. */
export function blocksIn(cacheBytesMax: number): number {
  return Math.floor(cacheBytesMax / BLOCK_BYTES);
}
