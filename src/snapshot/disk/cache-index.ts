import { constants } from 'node:fs';
import { open, readdir, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { PRIVATE_FILE_MODE } from './cache-folder.js';
import { decodeEntry, encodeEntry, ENTRY_BYTES, KEY_BYTES, type IndexEntry } from './index-entry.js';

/** One page of the file system: an entry is found by reading the one bucket that its key belongs to. */
const BUCKET_BYTES = 4096;
const ENTRIES_PER_BUCKET = BUCKET_BYTES / ENTRY_BYTES;

/** Entries for each block that the cache holds: several disks share blocks, each with a name of its own for them. */
const ENTRIES_PER_BLOCK = 4;
const NAME_PREFIX = 'index-';

/** Names that a block can be found without take no more than this part of a bucket. */
const OPTIONAL_ENTRIES_MAX = ENTRIES_PER_BUCKET / 2;

/**
 * Which block of which disk has which content, and where that is: a hash table in one file of fixed size, of which
 * nothing is kept in memory. Processes read and write it side by side without a lock: an entry is one small write with a
 * check of its own, so that the worst that can happen is that one is lost.
 */
export class CacheIndex {
  readonly #file: FileHandle;
  readonly #bucketCount: number;

  private constructor(file: FileHandle, bucketCount: number) {
    this.#file = file;
    this.#bucketCount = bucketCount;
  }

  /**
   * Opens the index for a cache of so many blocks. Indexes for caches of other sizes are removed.
   *
   * @throws errors of the file system.
   */
  static async open(folder: string, blocksMax: number): Promise<CacheIndex> {
    const buckets = (blocksMax * ENTRIES_PER_BLOCK) / ENTRIES_PER_BUCKET;
    // A power of two, so that a small change of the bound keeps what is there.
    const bucketCount = 2 ** Math.ceil(Math.log2(Math.max(1, buckets)));
    const name = `${NAME_PREFIX}${bucketCount}`;
    for (const other of await readdir(folder)) {
      if (other.startsWith(NAME_PREFIX) && other !== name) {
        await unlink(join(folder, other)).catch(ignoreGone);
      }
    }
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(join(folder, name), flags, PRIVATE_FILE_MODE);
    return new CacheIndex(file, bucketCount);
  }

  /** What is known of a key. @throws errors of the file system. */
  async find(key: Buffer): Promise<IndexEntry | undefined> {
    const bucket = await this.#read(key);
    const at = positionOf(bucket, key);
    return at === undefined ? undefined : decodeEntry(bucket, at);
  }

  /**
   * Puts an entry in, in place of the one with the same key, else of one that is empty or damaged, else of the one whose
   * segment is the oldest.
   *
   * @throws errors of the file system.
   */
  async put(key: Buffer, entry: IndexEntry): Promise<void> {
    const bucket = await this.#read(key);
    const at = positionOf(bucket, key) ?? leastUseful(bucket);
    await this.#file.write(encodeEntry(key, entry), 0, ENTRY_BYTES, this.#offsetOf(key) + at);
  }

  /** Puts an entry in that can be done without: none other goes for it. @throws errors of the file system. */
  async putIfRoom(key: Buffer, entry: IndexEntry): Promise<void> {
    const bucket = await this.#read(key);
    const at =
      positionOf(bucket, key) ?? (usedIn(bucket) < OPTIONAL_ENTRIES_MAX ? leastUseful(bucket) : undefined);
    if (at === undefined) return;
    await this.#file.write(encodeEntry(key, entry), 0, ENTRY_BYTES, this.#offsetOf(key) + at);
  }

  /** Takes the entry of a key out. @throws errors of the file system. */
  async remove(key: Buffer): Promise<void> {
    const at = positionOf(await this.#read(key), key);
    if (at === undefined) return;
    await this.#file.write(Buffer.alloc(ENTRY_BYTES), 0, ENTRY_BYTES, this.#offsetOf(key) + at);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** A bucket; zeros where the file has not been written yet. */
  async #read(key: Buffer): Promise<Buffer> {
    const bucket = Buffer.alloc(BUCKET_BYTES);
    await this.#file.read(bucket, 0, BUCKET_BYTES, this.#offsetOf(key));
    return bucket;
  }

  #offsetOf(key: Buffer): number {
    return (key.readUInt32BE(0) % this.#bucketCount) * BUCKET_BYTES;
  }
}

function positionOf(bucket: Buffer, key: Buffer): number | undefined {
  for (let at = 0; at < BUCKET_BYTES; at += ENTRY_BYTES) {
    if (bucket.compare(key, 0, KEY_BYTES, at, at + KEY_BYTES) === 0) return at;
  }
  return undefined;
}

function leastUseful(bucket: Buffer): number {
  let leastAt = 0;
  let leastSegment = Number.POSITIVE_INFINITY;
  for (let at = 0; at < BUCKET_BYTES; at += ENTRY_BYTES) {
    const entry = decodeEntry(bucket, at);
    if (entry === undefined) return at;
    if (entry.segment < leastSegment) {
      leastSegment = entry.segment;
      leastAt = at;
    }
  }
  return leastAt;
}

function usedIn(bucket: Buffer): number {
  let count = 0;
  for (let at = 0; at < BUCKET_BYTES; at += ENTRY_BYTES)
    if (decodeEntry(bucket, at) !== undefined) count += 1;
  return count;
}

/** Another process may remove the same file. */
function ignoreGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
