import { BLOCK_BYTES } from '../ebs/constants.js';
import type { Clock } from '../util/clock.js';
import { Lane } from '../util/limiter.js';
import type { SnapshotCache } from './block-cache.js';
import type { BlockFetcher, PendingBlock } from './block-fetcher.js';
import type { FetchedBlocks } from './fetched-blocks.js';
import type { PrefetchShares } from './prefetch-shares.js';
import { ReadStreams, type ReadStream } from './read-streams.js';
import type { TokenMap } from './token-map.js';
import { BlockState } from './token-page.js';

/**
 * Blocks that one stream has ahead of it at most: 64 MiB. At 100 ms a call, 100 in flight are what the quota of one
 * snapshot takes, 1000 a second.
 */
export const READ_AHEAD_BLOCKS_MAX = 128;

export interface ReadAheadOptions {
  readonly tokens: TokenMap;
  readonly fetcher: BlockFetcher;
  readonly cache: SnapshotCache;
  readonly clock: Clock;
  /** What came lately. */
  readonly fetched: FetchedBlocks;
  /** What the cache can bear. */
  readonly shares: PrefetchShares;
}

/** Fetches of one stream that have not come to their end, by their block. */
type PendingBlocks = Map<number, PendingBlock>;

/**
 * Fetches what the streams of one snapshot are going to read: listed blocks only, behind demand, as far ahead as the
 * stream has earned and the cache can bear. What a stream waits for in the queue is dropped when the stream is.
 */
export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #streams: ReadStreams;
  readonly #pending = new Map<ReadStream, PendingBlocks>();
  /** Streams whose next list page is under way. */
  readonly #listing = new Set<ReadStream>();

  constructor(options: ReadAheadOptions) {
    this.#options = options;
    this.#streams = new ReadStreams({
      windowBlocksMax: READ_AHEAD_BLOCKS_MAX,
      onForgotten: (stream) => this.#stop(stream),
    });
  }

  /**
   * Takes note of a read whose own blocks are at hand or have been asked for. Never throws.
   *
   * @param isHit all of them were at hand.
   */
  note(offset: number, lengthBytes: number, isHit: boolean): void {
    const stream = this.#streams.note(offset, lengthBytes, isHit);
    if (stream === undefined) return;
    const lastIndex = Math.floor((offset + lengthBytes - 1) / BLOCK_BYTES);
    if (!isHit) stream.isRereading = this.#options.fetched.has(lastIndex);
    this.#advance(stream);
  }

  /** Drops what has not begun. */
  close(): void {
    for (const stream of this.#pending.keys()) this.#stop(stream);
  }

  #advance(stream: ReadStream): void {
    const { tokens, cache, clock, shares, fetched } = this.#options;
    const { window } = stream;
    if (window === undefined) return;
    let leftBlocks = Math.min(window.blockCount, shares.shareOf(stream, clock.nowMs()));
    let blockIndex = window.startIndex;
    while (leftBlocks > 0 && blockIndex < tokens.blockCount) {
      const run = tokens.runAt(blockIndex);
      if (run === undefined) {
        this.#listFrom(stream, blockIndex);
        break;
      }
      const endIndex =
        run.state === BlockState.Listed ? Math.min(run.endIndex, blockIndex + leftBlocks) : run.endIndex;
      if (run.state === BlockState.Listed) {
        leftBlocks -= endIndex - blockIndex;
        for (; blockIndex < endIndex; blockIndex += 1) {
          const isAtHand = cache.has(blockIndex);
          // Several readers who share a disk out among them, as nbdcopy does, end where another one began.
          if (!isAtHand && !stream.isRereading && fetched.has(blockIndex)) return;
          stream.aheadBlocks.add(blockIndex);
          if (!isAtHand) this.#fetch(stream, blockIndex);
        }
      }
      blockIndex = endIndex;
    }
  }

  #fetch(stream: ReadStream, blockIndex: number): void {
    const pending = this.#pending.get(stream) ?? new Map<number, PendingBlock>();
    if (pending.has(blockIndex)) return;
    this.#pending.set(stream, pending);
    const fetched = this.#options.fetcher.fetch(blockIndex, Lane.Prefetch);
    pending.set(blockIndex, fetched);
    const settle = (): void => {
      pending.delete(blockIndex);
      if (pending.size === 0 && this.#pending.get(stream) === pending) this.#pending.delete(stream);
    };
    // Whoever reads the block hears of the failure; a stream that fails is not read ahead for until it is proven anew.
    fetched.block.then(settle, () => {
      settle();
      this.#streams.forget(stream);
    });
  }

  #listFrom(stream: ReadStream, blockIndex: number): void {
    if (this.#listing.has(stream)) return;
    this.#listing.add(stream);
    this.#options.tokens.learn(blockIndex).then(
      () => this.#listing.delete(stream) && this.#advance(stream),
      () => {
        this.#listing.delete(stream);
        this.#streams.forget(stream);
      },
    );
  }

  #stop(stream: ReadStream): void {
    this.#options.shares.release(stream);
    const pending = this.#pending.get(stream);
    this.#pending.delete(stream);
    stream.windowBlocks = 0;
    for (const fetched of pending?.values() ?? []) fetched.cancel();
  }
}
