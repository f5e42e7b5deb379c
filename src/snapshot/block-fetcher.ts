import { ZERO_BLOCK_CHECKSUM } from '../ebs/checksum.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { EbsErrorKind, isEbsError } from '../ebs/errors.js';
import type { ReceivedBlock, SnapshotApi } from '../ebs/snapshot-api.js';
import type { Clock } from '../util/clock.js';
import { Lane, type Limiter } from '../util/limiter.js';
import { ZERO_BLOCK, type CachedBlock } from './block-cache.js';
import type { SnapshotDiskCache } from './disk/disk-cache.js';
import type { TokenMap } from './token-map.js';

/** One search for a block among the relatives of a snapshot. */
export interface BlockRequest {
  readonly blockIndex: number;
  /** How urgent it is at present. */
  lane(): Lane;
  /** Called when it becomes urgent. */
  onPromoted(promote: () => void): void;
  /** Says that the block is going to be fetched, so that others can wait for it. */
  claim(): void;
}

/** Other snapshots that may have the same blocks. */
export interface BlockRelatives {
  /** The block, when a relative proves to have it; else the request has been claimed. */
  find(request: BlockRequest): Promise<CachedBlock | undefined>;
  /** A block was fetched, or found on disk under this snapshot's own name. */
  kept(blockIndex: number): void;
}

export interface BlockFetcherOptions {
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  readonly tokens: TokenMap;
  /** Bounds the fetches that run at once; those of a snapshot are the group of its name. */
  readonly limiter: Limiter;
  readonly clock: Clock;
  /** Aborts all calls. */
  readonly signal: AbortSignal;
  /** Asked before the service is, and given what the service gave. Default: none. */
  readonly disk?: SnapshotDiskCache | undefined;
  /** Asked before the service is. Default: none. */
  readonly relatives?: (() => BlockRelatives | undefined) | undefined;
  /** Called when a block is about to take memory; what it gives is called when the block is there, or will not come. */
  readonly expect: () => () => void;
  /** Gets each block once, before anybody who waits for it does. @param isWanted somebody is about to read it. */
  readonly keep: (blockIndex: number, block: CachedBlock, isWanted: boolean) => void;
}

/** What has been fetched so far. */
export interface FetchCounts {
  /** GetSnapshotBlock calls that brought a block. */
  readonly gets: number;
  readonly bytes: number;
  /** Blocks that were found in the disk cache. */
  readonly diskHits: number;
  /** Blocks that a relative of the snapshot had. */
  readonly relativeHits: number;
  /** Calls that were answered with a block token refused, and made again with a new one. */
  readonly refusedTokens: number;
}

/** Somebody's share in a fetch. */
export interface PendingBlock {
  /** Rejects with {@link EbsError}. */
  readonly block: Promise<CachedBlock>;
  /** Says that this one waits no longer. A fetch that nobody waits for is dropped if it has not begun. */
  cancel(): void;
}

interface Flight {
  readonly blockIndex: number;
  readonly askedMs: number;
  lane: Lane;
  /** Somebody reads the block, or is about to. */
  isWanted: boolean;
  /** The call is under way, or has been. */
  begun: boolean;
  /** The block is going to be fetched from the service. */
  isClaimed: boolean;
  /** Tells those who are waited for that it has become urgent. */
  promote: () => void;
  waiterCount: number;
  /** Takes the flight out of the queue. */
  queued: AbortController;
  block: Promise<CachedBlock>;
}

// Why a flight left the queue.
const PROMOTED = new Error('the fetch goes on in the lane of demand');
const DROPPED = new Error('nobody waits for the block any more');

/**
 * Fetches blocks of one snapshot. However many wait for a block there is one fetch of it [single flight], under its
 * exact index. A fetch that was begun for later is put in front as soon as somebody waits for it.
 */
export class BlockFetcher {
  readonly #options: BlockFetcherOptions;
  readonly #flights = new Map<number, Flight>();
  readonly #counts = { gets: 0, bytes: 0, diskHits: 0, relativeHits: 0, refusedTokens: 0 };

  constructor(options: BlockFetcherOptions) {
    this.#options = options;
  }

  get counts(): FetchCounts {
    return this.#counts;
  }

  /** Fetches that run or wait. */
  get flightCount(): number {
    return this.#flights.size;
  }

  /** The blocks that are being fetched or wait to be, the one that was asked for first at the front. */
  flyingBlocks(): IterableIterator<number> {
    return this.#flights.keys();
  }

  /**
   * Fetches a block, or joins whoever does. A block that is not listed is found to be zeros without a call for it.
   *
   * @param isWanted false for a block that is only to be had on disk. Default: true.
   */
  fetch(blockIndex: number, lane: Lane, isWanted = true): PendingBlock {
    const flight = this.#flights.get(blockIndex) ?? this.#start(blockIndex, lane);
    flight.isWanted ||= isWanted;
    if (lane === Lane.Demand && flight.lane === Lane.Prefetch) {
      flight.lane = Lane.Demand;
      if (!flight.begun) flight.queued.abort(PROMOTED);
      flight.promote();
    }
    flight.waiterCount += 1;
    let waits = true;
    return {
      block: flight.block,
      cancel: () => {
        if (!waits) return;
        waits = false;
        flight.waiterCount -= 1;
        if (flight.waiterCount === 0 && !flight.begun) this.#drop(flight);
      },
    };
  }

  /** Whether a block is on its way from the service, or about to be. */
  isUnderWay(blockIndex: number): boolean {
    return this.#flights.get(blockIndex)?.isClaimed === true;
  }

  /** Joins the fetch of such a block; undefined when there is none. */
  underWay(blockIndex: number, lane: Lane): PendingBlock | undefined {
    return this.isUnderWay(blockIndex) ? this.fetch(blockIndex, lane, false) : undefined;
  }

  #start(blockIndex: number, lane: Lane): Flight {
    const flight: Flight = {
      blockIndex,
      askedMs: this.#options.clock.nowMs(),
      lane,
      isWanted: false,
      begun: false,
      isClaimed: false,
      promote: () => undefined,
      waiterCount: 0,
      queued: new AbortController(),
      block: Promise.resolve(ZERO_BLOCK),
    };
    this.#flights.set(blockIndex, flight);
    flight.block = this.#run(flight);
    // Those who wait hear of a failure themselves; it may also be that nobody waits any more.
    flight.block.catch(() => undefined);
    return flight;
  }

  async #run(flight: Flight): Promise<CachedBlock> {
    try {
      return await this.#load(flight);
    } finally {
      this.#forget(flight);
    }
  }

  async #load(flight: Flight): Promise<CachedBlock> {
    const { tokens, keep, disk } = this.#options;
    const { blockIndex, askedMs } = flight;
    const stored = await disk?.read(blockIndex);
    if (stored !== undefined) {
      this.#counts.diskHits += 1;
      this.#options.relatives?.()?.kept(blockIndex);
      keep(blockIndex, stored, flight.isWanted);
      return stored;
    }
    const related = await this.#askRelatives(flight);
    if (related !== undefined) {
      this.#counts.relativeHits += 1;
      keep(blockIndex, related, flight.isWanted);
      return related;
    }
    await disk?.room();
    let token = await tokens.tokenOf(blockIndex, { askedMs });
    if (token === undefined) return ZERO_BLOCK;
    let received: ReceivedBlock;
    try {
      received = await this.#get(flight, token);
    } catch (error) {
      if (!isEbsError(error, EbsErrorKind.InvalidBlockToken)) throw error;
      // [ebs: GetSnapshotBlock / INVALID_BLOCK_TOKEN] List again, and try once more.
      this.#counts.refusedTokens += 1;
      tokens.refuse(blockIndex, token);
      token = await tokens.tokenOf(blockIndex, { askedMs });
      if (token === undefined) throw error;
      received = await this.#get(flight, token);
    }
    this.#counts.gets += 1;
    this.#counts.bytes += BLOCK_BYTES;
    const block = received.checksum === ZERO_BLOCK_CHECKSUM ? ZERO_BLOCK : received.bytes;
    keep(blockIndex, block, flight.isWanted);
    this.#options.relatives?.()?.kept(blockIndex);
    if (received.checksum !== undefined) void disk?.store(blockIndex, block, received.checksum);
    return block;
  }

  #askRelatives(flight: Flight): Promise<CachedBlock | undefined> | undefined {
    return this.#options.relatives?.()?.find({
      blockIndex: flight.blockIndex,
      lane: () => flight.lane,
      onPromoted: (promote) => (flight.promote = promote),
      claim: () => (flight.isClaimed = true),
    });
  }

  async #get(flight: Flight, blockToken: string): Promise<ReceivedBlock> {
    const { api, snapshotId, limiter, signal, expect } = this.#options;
    const { blockIndex, askedMs } = flight;
    const call = async (): Promise<ReceivedBlock> => {
      flight.begun = true;
      const arrived = expect();
      try {
        return await api.getSnapshotBlock({ snapshotId, blockIndex, blockToken }, { signal, askedMs });
      } finally {
        arrived();
      }
    };
    for (;;) {
      try {
        return await limiter.runIn(snapshotId, call, flight.lane, flight.queued.signal);
      } catch (error) {
        if (error !== PROMOTED) throw error;
        flight.queued = new AbortController();
      }
    }
  }

  #drop(flight: Flight): void {
    this.#forget(flight);
    flight.queued.abort(DROPPED);
  }

  // Another flight to the same block may have begun since this one was dropped or came to its end.
  #forget(flight: Flight): void {
    if (this.#flights.get(flight.blockIndex) === flight) this.#flights.delete(flight.blockIndex);
  }
}
