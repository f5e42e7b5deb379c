import { ZERO_BLOCK_CHECKSUM, blockChecksum } from '../../ebs/checksum.js';
import { blockBuffers } from '../../ebs/block-buffers.js';
import { BLOCK_BYTES } from '../../ebs/constants.js';
import type { Clock } from '../../util/clock.js';
import { EnvironmentError } from '../../util/errors.js';
import { Lease } from '../../util/lease.js';
import { Limiter } from '../../util/limiter.js';
import type { Logger } from '../../util/logger.js';
import { systemReason } from '../../util/system-reason.js';
import { ZERO_BLOCK, type CachedBlock } from '../block-cache.js';
import { prepareCacheFolder } from './cache-folder.js';
import { CacheIndex } from './cache-index.js';
import { keyOf, type BlockPlace } from './index-entry.js';
import { Segments } from './segments.js';
import { SnapshotCatalog } from './snapshot-catalog.js';

export interface DiskCacheOptions {
  /** Made when there is none; private to the user. */
  readonly dir: string;
  /** Bound on the blocks, at least {@link DISK_CACHE_BYTES_MIN}. The index takes another 0.05 %. */
  readonly bytesMax: number;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Whose block it is. */
export interface DiskCacheIdentity {
  /** Tells services apart: an emulator may have a snapshot of the same id as AWS has. */
  readonly service: string;
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
}

/** A disk cache, and which service the snapshots are of that it is used for: ids are unique within one only. */
export interface DiskStore {
  readonly cache: DiskCache;
  readonly service: string;
}

/** What the cache has done so far. */
export interface DiskCacheCounts {
  /** Blocks that were found. */
  readonly hits: number;
  /** Blocks that were written. */
  readonly stored: number;
  /** Blocks that were there already, under the name of another block. */
  readonly shared: number;
  /** Blocks that were not written, as the disk had failed. */
  readonly skipped: number;
}

/** Smaller, and evicting would be too coarse to be of use. */
export const DISK_CACHE_BYTES_MIN = 64 * BLOCK_BYTES;

/** Each holds a block. */
const READS_AT_ONCE_MAX = 8;
/** Blocks that wait to be written hold their memory as long: with 8 MiB of them, no more are asked for. */
const STORES_WAITING_MAX = 16;
/** Further names that wait to be written. Each is small, and can be done without. */
const NAMES_WAITING_MAX = 1024;
/** A disk that failed is left alone for so long. */
const PAUSE_MS = 30_000;

const ZERO_DIGEST = Buffer.from(ZERO_BLOCK_CHECKSUM, 'base64');
const NOWHERE: BlockPlace = { segment: 0, slot: 0 };

/**
 * Blocks on disk, of all snapshots and several processes. Kept by content: equal blocks are there once. Each block is
 * compared with the SHA-256 that the service declared for it before it is given out; a check that is cheaper to make would
 * also be cheaper to deceive, and this one runs beside the main thread. Whatever goes wrong costs what was in the cache,
 * and is never an error to who reads.
 */
export class DiskCache {
  readonly #index: CacheIndex;
  readonly #segments: Segments;
  readonly #reads = new Limiter(READS_AT_ONCE_MAX);
  readonly #stores = new Limiter(1);
  readonly #names = new Limiter(1);
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #counts = { hits: 0, stored: 0, shared: 0, skipped: 0 };
  /** Blocks that are to be written, or are being written, by their keys: who looks for one finds it already. */
  readonly #storing = new Map<string, CachedBlock>();
  /** Who waits for room. */
  readonly #waiting: (() => void)[] = [];
  #pausedUntilMs = 0;
  #pauseReason = '';
  #isClosed = false;
  readonly #bytesMax: number;
  /** The snapshots that it has blocks of. */
  readonly catalog: SnapshotCatalog;

  private constructor(
    index: CacheIndex,
    segments: Segments,
    catalog: SnapshotCatalog,
    options: DiskCacheOptions,
  ) {
    this.#index = index;
    this.#segments = segments;
    this.catalog = catalog;
    this.#clock = options.clock;
    this.#logger = options.logger.child({ cacheDir: options.dir });
    this.#bytesMax = options.bytesMax;
  }

  /**
   * Opens the cache in a folder, which is made when there is none.
   *
   * @throws {EnvironmentError} in one line when the folder cannot be used, or is not this user's alone.
   */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const folder = prepareCacheFolder(options.dir);
    const blocksMax = Math.floor(options.bytesMax / BLOCK_BYTES);
    const segments = new Segments(folder, blocksMax);
    try {
      const index = await CacheIndex.open(folder, blocksMax);
      await segments.evict(0);
      return new DiskCache(index, segments, new SnapshotCatalog(options.dir, options.logger), options);
    } catch (error) {
      const reason = systemReason(error);
      throw new EnvironmentError(`Cannot keep blocks in "${options.dir}": ${reason}.`, { cause: error });
    }
  }

  /** Blocks that the cache holds at most. */
  get blocksMax(): number {
    return Math.floor(this.#bytesMax / BLOCK_BYTES);
  }

  get counts(): DiskCacheCounts {
    return this.#counts;
  }

  /** Why it is left alone at present, such as a full disk; undefined while it is in use. */
  get pauseReason(): string | undefined {
    return this.#isPaused ? this.#pauseReason : undefined;
  }

  /** The blocks of one snapshot. */
  of(identity: DiskCacheIdentity): SnapshotDiskCache {
    return new SnapshotDiskCache(this, identity);
  }

  /** Finds a block by its key. Never rejects. */
  read(key: Buffer): Promise<CachedBlock | undefined> {
    if (this.#isPaused) return Promise.resolve(undefined);
    const storing = this.#storing.get(textOf(key));
    if (storing !== undefined) {
      this.#counts.hits += 1;
      // By whom it will be used, and how long, nobody knows.
      if (storing !== ZERO_BLOCK) blockBuffers.lend(storing, undefined);
      return Promise.resolve(storing);
    }
    return this.#reads.run(() => this.#read(key)).catch((error: unknown) => this.#fail('read', error));
  }

  /** Keeps a block under its key, after a while. The bytes must not change. Never rejects. @returns whether it did. */
  async store(key: Buffer, block: CachedBlock, checksum: string): Promise<boolean> {
    if (this.#isPaused) {
      this.#counts.skipped += 1;
      return false;
    }
    let isKept = true;
    const lease = leaseOf(block);
    this.#storing.set(textOf(key), block);
    try {
      await this.#stores.run(() => this.#store(key, block, Buffer.from(checksum, 'base64')));
    } catch (error) {
      isKept = false;
      this.#fail('write', error);
    } finally {
      lease.end();
      if (this.#storing.get(textOf(key)) === block) this.#storing.delete(textOf(key));
    }
    if (this.#stores.waitingCount < STORES_WAITING_MAX) {
      // All of them: one that fails to fetch its block would never call the next.
      for (const goOn of this.#waiting.splice(0)) goOn();
    }
    return isKept;
  }

  /**
   * Gives the block that has one key another one as well, after a while, unless the index is short of room: then it is
   * found by who knows that it is the same. Never rejects.
   */
  async name(key: Buffer, knownKey: Buffer): Promise<void> {
    if (this.#isPaused || this.#names.waitingCount >= NAMES_WAITING_MAX) return;
    const name = async (): Promise<void> => {
      const entry = await this.#index.find(knownKey);
      if (entry !== undefined) await this.#index.putIfRoom(key, entry);
    };
    await this.#names.run(name).catch((error: unknown) => this.#fail('write', error));
  }

  /** Resolves when all that was to be stored is. */
  async settled(): Promise<void> {
    await this.#stores.idle();
    await this.#names.idle();
  }

  /** Resolves when there is room for another block to be stored: at once, unless the disk cannot keep up. */
  room(): Promise<void> {
    if (this.#isPaused || this.#stores.waitingCount < STORES_WAITING_MAX) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Whether a block is there, as far as can be told without reading it. Never rejects. */
  async has(key: Buffer): Promise<boolean> {
    if (this.#isPaused) return false;
    if (this.#storing.has(textOf(key))) return true;
    const look = async (): Promise<boolean> => {
      const named = await this.#index.find(key);
      if (named === undefined || named.digest.equals(ZERO_DIGEST)) return named !== undefined;
      return this.#segments.has((await this.#index.find(contentKeyOf(named.digest))) ?? named);
    };
    return (await this.#reads.run(look).catch((error: unknown) => this.#fail('read', error))) ?? false;
  }

  /** Finishes what is under way, and closes the files. */
  async close(): Promise<void> {
    await this.catalog.settled();
    await this.settled();
    await this.#reads.idle();
    this.#isClosed = true;
    await this.#segments.close();
    await this.#index.close();
  }

  get #isPaused(): boolean {
    return this.#isClosed || this.#clock.nowMs() < this.#pausedUntilMs;
  }

  async #read(key: Buffer): Promise<CachedBlock | undefined> {
    const named = await this.#index.find(key);
    if (named === undefined) return undefined;
    const { digest } = named;
    if (digest.equals(ZERO_DIGEST)) {
      this.#counts.hits += 1;
      return ZERO_BLOCK;
    }
    let place: BlockPlace = named;
    let block = await this.#readWhole(place, digest);
    if (block === undefined) {
      // It may have moved to a newer segment since it was named.
      const moved = await this.#index.find(contentKeyOf(digest));
      if (moved === undefined) return undefined;
      place = moved;
      block = await this.#readWhole(place, digest);
    }
    if (block === undefined) {
      // Else it would be taken for kept when it is stored again.
      await this.#index.remove(contentKeyOf(digest));
      return undefined;
    }
    this.#counts.hits += 1;
    if (this.#segments.isOld(place) || this.#segments.isOld(named)) {
      void this.#keepLonger(key, block, digest);
    }
    return block;
  }

  /** What is at a place, if it has that digest. */
  async #readWhole(place: BlockPlace, digest: Buffer): Promise<Buffer | undefined> {
    const block = await this.#segments.read(place);
    if (block === undefined) return undefined;
    return Buffer.from(await blockChecksum(block), 'base64').equals(digest) ? block : undefined;
  }

  async #store(key: Buffer, block: CachedBlock, digest: Buffer): Promise<void> {
    if (block === ZERO_BLOCK) {
      await this.#index.put(key, { ...NOWHERE, digest: ZERO_DIGEST });
      return;
    }
    const contentKey = contentKeyOf(digest);
    const known = await this.#index.find(contentKey);
    const isKnown = known !== undefined && !this.#segments.isOld(known) && (await this.#segments.has(known));
    const place = isKnown ? known : await this.#segments.append(block);
    if (isKnown) this.#counts.shared += 1;
    else this.#counts.stored += 1;
    await this.#index.put(key, { ...place, digest });
    if (!isKnown) await this.#index.put(contentKey, { ...place, digest });
  }

  /** Writes a block that is in use once more before its segment is evicted, and its entries before they are replaced. */
  async #keepLonger(key: Buffer, block: Buffer, digest: Buffer): Promise<void> {
    if (this.#stores.waitingCount >= STORES_WAITING_MAX) return;
    const contentKey = contentKeyOf(digest);
    const move = async (): Promise<void> => {
      const known = await this.#index.find(contentKey);
      const isMoved = known !== undefined && !this.#segments.isOld(known);
      const place = isMoved ? known : await this.#segments.append(block);
      await this.#index.put(key, { ...place, digest });
      if (!isMoved) await this.#index.put(contentKey, { ...place, digest });
    };
    const lease = leaseOf(block);
    await this.#stores.run(move).catch((error: unknown) => this.#fail('write', error));
    lease.end();
  }

  #fail(verb: 'read' | 'write', error: unknown): undefined {
    if (this.#isClosed || this.#isPaused) return;
    this.#pausedUntilMs = this.#clock.nowMs() + PAUSE_MS;
    this.#pauseReason = `cannot ${verb} the disk cache: ${systemReason(error)}`;
    this.#logger.warn(`cannot ${verb} the disk cache: it is left alone for a while`, {
      reason: systemReason(error),
      pauseMs: PAUSE_MS,
    });
  }
}

/** The blocks of one snapshot in a {@link DiskCache}. */
export class SnapshotDiskCache {
  readonly #cache: DiskCache;
  readonly #identity: DiskCacheIdentity;
  #onSeen: (blockIndex: number, isThere: boolean) => void = () => undefined;

  constructor(cache: DiskCache, identity: DiskCacheIdentity) {
    this.#cache = cache;
    this.#identity = identity;
  }

  /** @param onSeen told of each block that is found, stored or missed; must be quick. */
  set onSeen(onSeen: (blockIndex: number, isThere: boolean) => void) {
    this.#onSeen = onSeen;
  }

  /** The block if it is there and proves to be whole. Never rejects. */
  async read(blockIndex: number): Promise<CachedBlock | undefined> {
    const block = await this.#cache.read(this.#keyOf(blockIndex));
    this.#onSeen(blockIndex, block !== undefined);
    return block;
  }

  /** Whether the block is there, as far as can be told without reading it. Never rejects. */
  async has(blockIndex: number): Promise<boolean> {
    const isThere = await this.#cache.has(this.#keyOf(blockIndex));
    this.#onSeen(blockIndex, isThere);
    return isThere;
  }

  /** Resolves when all that was to be stored is. */
  settled(): Promise<void> {
    return this.#cache.settled();
  }

  /** Resolves when there is room for another block to be stored. */
  room(): Promise<void> {
    return this.#cache.room();
  }

  /** Keeps a block, after a while. @param checksum base64 of its SHA-256. Never rejects. */
  async store(blockIndex: number, block: CachedBlock, checksum: string): Promise<void> {
    if (await this.#cache.store(this.#keyOf(blockIndex), block, checksum)) this.#onSeen(blockIndex, true);
  }

  /** Finds the block under this snapshot's name as well from now on, if there is room for that. Never rejects. */
  nameLike(blockIndex: number, other: SnapshotDiskCache): Promise<void> {
    return this.#cache.name(this.#keyOf(blockIndex), other.#keyOf(blockIndex));
  }

  #keyOf(blockIndex: number): Buffer {
    const { service, snapshotId, volumeSizeGib } = this.#identity;
    return keyOf('block', service, snapshotId, volumeSizeGib, blockIndex);
  }
}

function leaseOf(block: CachedBlock): Lease {
  const lease = new Lease();
  if (block !== ZERO_BLOCK) blockBuffers.lend(block, lease);
  return lease;
}

function textOf(key: Buffer): string {
  return key.toString('latin1');
}

function contentKeyOf(digest: Buffer): Buffer {
  return keyOf('content', digest.toString('base64'));
}
