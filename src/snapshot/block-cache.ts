import { LRUCache } from 'lru-cache';
import { blockBuffers } from '../ebs/block-buffers.js';
import { BLOCK_BYTES, BLOCKS_PER_GIB, VOLUME_SIZE_MAX_GIB } from '../ebs/constants.js';
import { assert } from '../util/assert.js';
import { Limiter } from '../util/limiter.js';
import { MIB } from '../util/units.js';
import { CacheRoom } from './cache-room.js';
import { PrefetchShares } from './prefetch-shares.js';

/** Stands for a block of zeros, so that zeros take no memory. */
export const ZERO_BLOCK: unique symbol = Symbol('block of zeros');

/** The content of a block. Nobody changes the bytes: they are handed out as they are. */
export type CachedBlock = Buffer | typeof ZERO_BLOCK;

export const DEFAULT_CACHE_BYTES_MAX = 256 * MIB;

/** Snapshot number times this, plus block index, is a key: exact, as volumes have at most 2^27 blocks. */
const KEYS_PER_SNAPSHOT = VOLUME_SIZE_MAX_GIB * BLOCKS_PER_GIB;
const SNAPSHOTS_MAX = Math.floor(Number.MAX_SAFE_INTEGER / KEYS_PER_SNAPSHOT);

/** Each holds a block, beside those that are fetched for readers. */
const PREFETCHES_AT_ONCE_MAX = 32;

/** What a block of zeros takes, and a further name of a block: its key and its place in the order of use. */
const NAME_COST_BYTES = 128;

/** A block, or the key of the one that has it: equal blocks of several snapshots are there once. */
type CacheEntry = CachedBlock | number;

/** Told of each block of a snapshot that comes into memory or leaves it; must be quick. */
export type CacheWatcher = (blockIndex: number, isThere: boolean) => void;

/**
 * Blocks in memory, of all snapshots of the process, bounded in bytes; the least recently used go first. A snapshot
 * never changes, so whoever serves it may share what others have read.
 */
export class BlockCache {
  readonly #blocks: LRUCache<number, CacheEntry> | undefined;
  readonly #owners = new WeakMap<Buffer, number>();
  readonly #ordinals = new Map<string, number>();
  /** By snapshot number. */
  readonly #watchers = new Map<number, Set<CacheWatcher>>();
  readonly bytesMax: number;
  /** What is fetched into it on request, at once, of all snapshots. */
  readonly places = new Limiter(PREFETCHES_AT_ONCE_MAX);
  readonly #room: CacheRoom;
  /** Who may fetch how much ahead: a quarter of the blocks, so that they are read before they are pushed out. */
  readonly shares: PrefetchShares;

  /** @param bytesMax for the blocks; one that is larger is not kept, so below 512 KiB only zeros are. Default: 256 MiB. */
  constructor(bytesMax: number = DEFAULT_CACHE_BYTES_MAX) {
    this.bytesMax = Math.floor(bytesMax);
    this.shares = new PrefetchShares(Math.floor(this.bytesMax / BLOCK_BYTES / 4));
    // To the library, no bound would mean that there is none.
    this.#blocks =
      this.bytesMax > 0
        ? new LRUCache({
            maxSize: this.bytesMax,
            sizeCalculation: costOf,
            onInsert: (_entry, key, reason) => {
              if (reason === 'add') this.#tell(key, true);
            },
            dispose: (entry, key, reason) => {
              if (typeof entry === 'object') blockBuffers.drop(entry);
              if (reason !== 'set') this.#tell(key, false);
            },
          })
        : undefined;
    this.#room = new CacheRoom(this.#blocks, this.bytesMax, blockBuffers);
  }

  /** The part of the cache that belongs to one snapshot. */
  of(snapshotId: string): SnapshotCache {
    const firstKey = this.#ordinalOf(snapshotId) * KEYS_PER_SNAPSHOT;
    return new SnapshotCache(this.#blocks, this.#owners, firstKey, this.#room);
  }

  /** Tells which blocks of a snapshot are there, and from then on what changes. @returns how to end that. */
  watch(snapshotId: string, watcher: CacheWatcher): () => void {
    const ordinal = this.#ordinalOf(snapshotId);
    const watchers = this.#watchers.get(ordinal) ?? new Set();
    this.#watchers.set(ordinal, watchers.add(watcher));
    for (const key of this.#blocks?.keys() ?? []) {
      if (Math.floor(key / KEYS_PER_SNAPSHOT) === ordinal) watcher(key % KEYS_PER_SNAPSHOT, true);
    }
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0) this.#watchers.delete(ordinal);
    };
  }

  /** What the blocks take. */
  get sizeBytes(): number {
    return this.#blocks?.calculatedSize ?? 0;
  }

  /** Names of blocks that are kept: a block that several snapshots share has one for each of them. */
  get blockCount(): number {
    return this.#blocks?.size ?? 0;
  }

  /** Drops everything. */
  clear(): void {
    this.#blocks?.clear();
  }

  #ordinalOf(snapshotId: string): number {
    let ordinal = this.#ordinals.get(snapshotId);
    if (ordinal === undefined) {
      ordinal = this.#ordinals.size;
      assert(ordinal < SNAPSHOTS_MAX, `${ordinal} snapshots in one cache`);
      this.#ordinals.set(snapshotId, ordinal);
    }
    return ordinal;
  }

  #tell(key: number, isThere: boolean): void {
    const watchers = this.#watchers.get(Math.floor(key / KEYS_PER_SNAPSHOT));
    if (watchers === undefined) return;
    for (const watcher of watchers) watcher(key % KEYS_PER_SNAPSHOT, isThere);
  }
}

/** The blocks of one snapshot in a {@link BlockCache}, by their index. */
export class SnapshotCache {
  readonly #blocks: LRUCache<number, CacheEntry> | undefined;
  /** Under which key each block is kept. */
  readonly #owners: WeakMap<Buffer, number>;
  readonly #firstKey: number;
  readonly #room: CacheRoom;

  constructor(
    blocks: LRUCache<number, CacheEntry> | undefined,
    owners: WeakMap<Buffer, number>,
    firstKey: number,
    room: CacheRoom,
  ) {
    this.#blocks = blocks;
    this.#owners = owners;
    this.#firstKey = firstKey;
    this.#room = room;
  }

  /** The block, which is now the most recently used. */
  get(blockIndex: number): CachedBlock | undefined {
    const entry = this.#blocks?.get(this.#firstKey + blockIndex);
    return typeof entry === 'number' ? this.#ownBlock(blockIndex, entry) : entry;
  }

  /** Whether the block is there; its place in the order of use stays. */
  has(blockIndex: number): boolean {
    const entry = this.#blocks?.peek(this.#firstKey + blockIndex);
    return typeof entry === 'number' ? typeof this.#blocks?.peek(entry) === 'object' : entry !== undefined;
  }

  /** Keeps a block. One that another snapshot brought here takes no further memory. */
  set(blockIndex: number, block: CachedBlock): void {
    const key = this.#firstKey + blockIndex;
    const entry = this.#entryOf(key, block);
    if (this.#blocks === undefined || costOf(entry) > this.#blocks.maxSize) {
      if (typeof entry === 'object') blockBuffers.drop(entry);
      return;
    }
    if (typeof entry === 'object') {
      this.#room.track(entry);
      this.#owners.set(entry, key);
    }
    this.#blocks.set(key, entry);
    this.#room.trim();
  }

  /** A block is about to come, and will take memory. @returns how to say that it is there, or will not come. */
  expect(): () => void {
    this.#room.changeBy(BLOCK_BYTES);
    return () => this.#room.changeBy(-BLOCK_BYTES);
  }

  /** Keeps the block if no other has to go for it. */
  setIfRoom(blockIndex: number, block: CachedBlock): void {
    const entry = this.#entryOf(this.#firstKey + blockIndex, block);
    if ((this.#blocks?.calculatedSize ?? 0) + costOf(entry) <= this.#room.bytesMax)
      this.set(blockIndex, block);
    else if (typeof entry === 'object') blockBuffers.drop(entry);
  }

  /** What is kept under a key: the block, or where it is. */
  #entryOf(key: number, block: CachedBlock): CacheEntry {
    if (block === ZERO_BLOCK) return block;
    const owner = this.#owners.get(block);
    const isKept = owner !== undefined && owner !== key && this.#blocks?.peek(owner) === block;
    return isKept ? owner : block;
  }

  /** The block under the key that has it, unless it has been pushed out. */
  #ownBlock(blockIndex: number, owner: number): CachedBlock | undefined {
    const block = this.#blocks?.get(owner);
    if (typeof block === 'object') return block;
    this.#blocks?.delete(this.#firstKey + blockIndex);
    return undefined;
  }
}

function costOf(entry: CacheEntry): number {
  return typeof entry === 'object' ? BLOCK_BYTES : NAME_COST_BYTES;
}
