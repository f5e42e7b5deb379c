import { setMaxListeners } from 'node:events';
import {
  ReadIntoResult,
  type BlockDevice,
  type BlocksAtHand,
  type Extent,
  type ExtentOptions,
  type ReadChunk,
  type ReadOptions,
  type ReadResult,
  type RequestOptions,
} from '../device/block-device.js';
import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { blockBuffers } from '../ebs/block-buffers.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { EbsError } from '../ebs/errors.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { assert } from '../util/assert.js';
import { onAbort } from '../util/abort-callbacks.js';
import { systemClock, type Clock } from '../util/clock.js';
import { Lane, Limiter } from '../util/limiter.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { GIB } from '../util/units.js';
import { AllocationMap } from './allocation-map.js';
import { ZERO_BLOCK, type BlockCache, type CachedBlock, type SnapshotCache } from './block-cache.js';
import { BlockFetcher, type FetchCounts } from './block-fetcher.js';
import type { DiskStore, SnapshotDiskCache } from './disk/disk-cache.js';
import { FailureLog } from './failure-log.js';
import { FetchedBlocks } from './fetched-blocks.js';
import { DiskMap } from './disk-map.js';
import { hydrate, type HydrationResult } from './hydration.js';
import { blocksIn, prefetchBlocks } from './prefetch.js';
import type { Lineage, LineageSeat } from './lineage/lineage.js';
import { ProfileReplay } from './profile/profile-replay.js';
import type { Profiles, ReadWatcher } from './profile/profiles.js';
import { ReadAhead } from './read-ahead.js';
import { ReadPlan } from './read-plan.js';
import { TokenMap } from './token-map.js';
import { processTokenMemory, type TokenMemory } from './token-memory.js';
import { BlockState } from './token-page.js';

export interface SnapshotDeviceOptions {
  /** Retrying and verifying. It stays open when the device is closed. */
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  /** Shared by all devices of the process. */
  readonly cache: BlockCache;
  /** Bounds the blocks that are fetched at once; shared by all devices of the process. */
  readonly limiter: Limiter;
  /** Bounds the list calls that run at once. Default: one of 8 for all devices of the process that are given none. */
  readonly listLimiter?: Limiter;
  /** What block tokens may take in memory. Default: one of 32 MiB for all devices that are given none. */
  readonly tokenMemory?: TokenMemory;
  /** Devices that share it, as far as is known now: each lists as much to begin with as there is room for. Default: 1. */
  readonly sharerCount?: number | undefined;
  /** Whether blocks that a sequential reader will want are fetched before it asks. Default: true. */
  readonly readsAhead?: boolean;
  /** Blocks that outlive the process. Default: none. */
  readonly disk?: DiskStore;
  /** Snapshots that may have the same blocks; made with the same caches. Default: none. */
  readonly lineage?: Lineage | undefined;
  /** What clients read first is recorded, or brought before they ask. Default: neither. */
  readonly profiles?: Profiles | undefined;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** Gives up opening. Of no effect later. */
  readonly signal?: AbortSignal;
}

export type { DiskStore } from './disk/disk-cache.js';

/** What a device has done so far. */
export interface SnapshotDeviceCounts extends FetchCounts {
  /** List calls that were answered. */
  readonly lists: number;
  /** What the tokens take in memory at present. */
  readonly tokenBytes: number;
  /** Blocks that readers found in memory. */
  readonly memoryHits: number;
  /** Blocks that readers asked for and that are not in the snapshot: zeros. */
  readonly holeHits: number;
  /** Blocks that readers had to wait for. */
  readonly misses: number;
  /** Fetches that run or wait. */
  readonly fetching: number;
}

/** At 50/s and 100 ms a call, the account's quota has room for five. */
const LISTS_IN_FLIGHT_MAX = 8;
const processListLimiter = new Limiter(LISTS_IN_FLIGHT_MAX);

/** Who starts a server waits for an answer: retrying is for networks that are just coming up. */
const OPEN_RETRY_TOTAL_MS = 5000;

const CLOSED = new DeviceError(
  DeviceErrno.ESHUTDOWN,
  'Cannot read the snapshot: its device has been closed.',
);

/**
 * Opens a snapshot as a read-only disk, by one list call whatever its size.
 *
 * @throws {EbsError} when the snapshot cannot be listed; the signal's reason when it aborts first.
 */
export async function openSnapshotDevice(options: SnapshotDeviceOptions): Promise<SnapshotDevice> {
  const { api, snapshotId, signal, listLimiter = processListLimiter, clock = systemClock } = options;
  signal?.throwIfAborted();
  const closing = new AbortController();
  // Each call that waits for its next try listens to it.
  setMaxListeners(0, closing.signal);
  const leave = onAbort(signal, () => closing.abort(signal?.reason));
  try {
    const tokens = await TokenMap.open(
      {
        api,
        snapshotId,
        limiter: listLimiter,
        clock,
        signal: closing.signal,
        memory: options.tokenMemory ?? processTokenMemory,
        sharerCount: options.sharerCount,
      },
      { retryTotalMs: OPEN_RETRY_TOTAL_MS },
    );
    return new SnapshotDevice(options, tokens, closing, clock);
  } finally {
    leave();
  }
}

/** A snapshot as a read-only disk. Made by {@link openSnapshotDevice}. */
export class SnapshotDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly description: string;
  readonly snapshotId: string;
  readonly #tokens: TokenMap;
  readonly #fetcher: BlockFetcher;
  readonly #cache: SnapshotCache;
  readonly #prefetchBlocksMax: number;
  readonly #places: Limiter;
  readonly #allocation: AllocationMap;
  readonly #readAhead: ReadAhead | undefined;
  readonly #failures: FailureLog;
  readonly #disk: SnapshotDiskCache | undefined;
  readonly #seat: LineageSeat | undefined;
  #watcher: ReadWatcher | undefined;
  readonly #closing: AbortController;
  /** What has become of its blocks. */
  readonly map: DiskMap;
  readonly #unwatch: () => void;
  #memoryHits = 0;
  #holeHits = 0;
  #misses = 0;

  constructor(options: SnapshotDeviceOptions, tokens: TokenMap, closing: AbortController, clock: Clock) {
    const { api, snapshotId, cache, limiter, logger = silentLogger } = options;
    this.sizeBytes = tokens.volumeSizeGib * GIB;
    this.snapshotId = snapshotId;
    this.description = `EBS snapshot ${snapshotId}, ${tokens.volumeSizeGib} GiB`;
    this.#tokens = tokens;
    this.#cache = cache.of(snapshotId);
    this.#places = cache.places;
    const map = new DiskMap(tokens.blockCount);
    this.map = map;
    tokens.onListed = (page) => map.noteListing(page.startIndex, page.endIndex, page.listedIndexes);
    this.#unwatch = cache.watch(snapshotId, (blockIndex, isThere) => map.noteInMemory(blockIndex, isThere));
    this.#prefetchBlocksMax = blocksIn(cache.bytesMax);
    this.#allocation = new AllocationMap(tokens);
    this.#failures = new FailureLog(logger.child({ snapshot: snapshotId }), clock);
    this.#closing = closing;
    const { signal } = closing;
    const fetched = new FetchedBlocks();
    const expect = (): (() => void) => this.#cache.expect();
    const keep = (blockIndex: number, block: CachedBlock, isWanted: boolean): void => {
      fetched.add(blockIndex);
      map.noteRead(blockIndex);
      if (isWanted) this.#cache.set(blockIndex, block);
      else this.#cache.setIfRoom(blockIndex, block);
    };
    const { volumeSizeGib } = tokens;
    this.#disk = options.disk?.cache.of({ service: options.disk.service, snapshotId, volumeSizeGib });
    if (this.#disk !== undefined) this.#disk.onSeen = (index, isThere) => map.noteOnDisk(index, isThere);
    this.#fetcher = new BlockFetcher({
      api,
      snapshotId,
      tokens,
      limiter,
      clock,
      signal,
      disk: this.#disk,
      relatives: () => this.#seat,
      expect,
      keep,
    });
    this.#seat = options.lineage?.join(snapshotId, volumeSizeGib, this.#fetcher);
    const memoryBlocksMax = Math.floor(this.#prefetchBlocksMax / 2);
    const diskBlocksMax = Math.floor((options.disk?.cache.blocksMax ?? 0) / 2);
    const replayParts = {
      ...{ tokens, fetcher: this.#fetcher, cache: this.#cache, disk: this.#disk, limiter },
      ...{ memoryBlocksMax, aheadBlocksMax: Math.max(memoryBlocksMax, diskBlocksMax) },
    };
    this.#watcher = options.profiles?.watch({
      snapshotId,
      volumeSizeGib,
      prepare: (blocks) => new ProfileReplay(replayParts, blocks),
    });
    if (options.readsAhead ?? true) {
      const { shares } = cache;
      const parts = { tokens, fetcher: this.#fetcher, cache: this.#cache, fetched };
      this.#readAhead = new ReadAhead({ ...parts, clock, shares });
    }
  }

  get counts(): SnapshotDeviceCounts {
    return {
      ...this.#fetcher.counts,
      lists: this.#tokens.listCount,
      tokenBytes: this.#tokens.sizeBytes,
      memoryHits: this.#memoryHits,
      holeHits: this.#holeHits,
      misses: this.#misses,
      fetching: this.#fetcher.flightCount,
    };
  }

  /** The blocks that are being fetched or wait to be, the one that was asked for first at the front. */
  fetchingBlocks(): IterableIterator<number> {
    return this.#fetcher.flyingBlocks();
  }

  /** Answers at once when all blocks are in the cache or known to be zeros. [nbd: NBD_CMD_READ] */
  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult> {
    const blockIndex = Math.floor(offset / BLOCK_BYTES);
    const startInBlock = offset - blockIndex * BLOCK_BYTES;
    if (lengthBytes === 0) return [];
    if (this.#watcher !== undefined) this.#tell(this.#watcher, offset, lengthBytes);
    if (startInBlock + lengthBytes <= BLOCK_BYTES) {
      const block = this.#atHand(blockIndex);
      if (block !== undefined) {
        this.#readAhead?.note(offset, lengthBytes, true);
        if (block !== ZERO_BLOCK) blockBuffers.lend(block, options?.lease);
        return [chunkOf(block, startInBlock, lengthBytes)];
      }
    }
    const plan = new ReadPlan(offset, lengthBytes, (index) => this.#atHand(index), options?.lease);
    const isHit = plan.missingCount === 0;
    const result = isHit ? plan.result() : this.#readMissing(plan, options?.signal);
    // After what is missing was asked for, which goes first.
    this.#readAhead?.note(offset, lengthBytes, isHit);
    return result;
  }

  /** For reads within one block; others go by {@link read}. [nbd: NBD_CMD_READ] */
  readInto(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult {
    const blockIndex = Math.floor(offset / BLOCK_BYTES);
    const startInBlock = offset - blockIndex * BLOCK_BYTES;
    if (startInBlock + lengthBytes > BLOCK_BYTES) return ReadIntoResult.NotAtHand;
    const block = this.#atHand(blockIndex);
    if (block === undefined) return ReadIntoResult.NotAtHand;
    if (this.#watcher !== undefined) this.#tell(this.#watcher, offset, lengthBytes);
    this.#readAhead?.note(offset, lengthBytes, true);
    if (block === ZERO_BLOCK) return ReadIntoResult.Zeros;
    block.copy(target, targetStart, startInBlock, startInBlock + lengthBytes);
    return ReadIntoResult.Filled;
  }

  blocksAtHand(offset: number, lengthBytes: number): BlocksAtHand {
    const endIndex = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
    let [hits, missing] = [0, 0];
    for (let blockIndex = Math.floor(offset / BLOCK_BYTES); blockIndex < endIndex; blockIndex += 1) {
      const isHole = this.#tokens.stateOf(blockIndex) === BlockState.Unlisted;
      if (isHole || this.#cache.has(blockIndex)) hits += 1;
      else missing += 1;
    }
    return { hits, missing };
  }

  /** [nbd: NBD_CMD_BLOCK_STATUS / base:allocation] */
  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    const extents = this.#allocation.extents(offset, lengthBytes, options);
    return extents instanceof Promise ? this.#reported(extents, options.signal) : extents;
  }

  /** [nbd: NBD_CMD_CACHE] */
  async cache(offset: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    const startIndex = Math.floor(offset / BLOCK_BYTES);
    const endIndex = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
    const parts = { tokens: this.#tokens, fetcher: this.#fetcher, cache: this.#cache, places: this.#places };
    const blocksMax = this.#prefetchBlocksMax;
    await this.#reported(
      prefetchBlocks({ ...parts, blocksMax }, startIndex, endIndex, options?.signal),
      options?.signal,
    );
  }

  /**
   * Brings the whole snapshot into the disk cache, behind demand.
   *
   * @param blocksMax of how many blocks at most.
   * @throws {EbsError} when a block cannot be had; the reason of the signal, or of closing, when it ends before.
   */
  hydrate(blocksMax: number, ending: AbortSignal): Promise<HydrationResult> {
    assert(this.#disk !== undefined, 'hydration goes to the disk cache');
    const parts = { tokens: this.#tokens, fetcher: this.#fetcher, disk: this.#disk };
    const signal = AbortSignal.any([this.#closing.signal, ending]);
    return hydrate({ ...parts, blocksMax, signal });
  }

  /** Aborts what is under way, and lets go of the tokens. Cached blocks stay for others of the same snapshot. Once or more. */
  close(): void {
    this.#readAhead?.close();
    this.#unwatch();
    this.#closing.abort(CLOSED);
    this.#watcher?.close();
    this.#seat?.leave();
    this.#tokens.close();
  }

  #tell(watcher: ReadWatcher, offset: number, lengthBytes: number): void {
    if (watcher.isDone) {
      this.#watcher = undefined;
      return;
    }
    const endIndex = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
    for (let blockIndex = Math.floor(offset / BLOCK_BYTES); blockIndex < endIndex; blockIndex += 1) {
      if (this.#tokens.stateOf(blockIndex) !== BlockState.Unlisted) watcher.note(blockIndex);
    }
  }

  #atHand(blockIndex: number): CachedBlock | undefined {
    const block = this.#cache.get(blockIndex);
    if (block !== undefined) {
      this.#memoryHits += 1;
      return block;
    }
    if (this.#tokens.stateOf(blockIndex) !== BlockState.Unlisted) return undefined;
    this.#holeHits += 1;
    return ZERO_BLOCK;
  }

  async #readMissing(plan: ReadPlan, signal: AbortSignal | undefined): Promise<ReadResult> {
    signal?.throwIfAborted();
    this.#misses += plan.missingCount;
    const pending = plan.fetchMissing((blockIndex) => this.#fetcher.fetch(blockIndex, Lane.Demand));
    const leave = onAbort(signal, () => pending.cancel());
    try {
      await this.#reported(pending.done, signal);
    } finally {
      leave();
      pending.cancel();
    }
    return plan.result();
  }

  // A read error answers with an errno, and says in the log what to do. The device lives on.
  async #reported<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof EbsError)) throw error;
      this.#failures.tell('cannot read the snapshot', error);
      throw new DeviceError(DeviceErrno.EIO, error.message, { cause: error });
    }
  }
}

function chunkOf(block: CachedBlock, startInBlock: number, lengthBytes: number): ReadChunk {
  if (block === ZERO_BLOCK) return { zeroBytes: lengthBytes };
  return lengthBytes === BLOCK_BYTES ? block : block.subarray(startInBlock, startInBlock + lengthBytes);
}
