import { constants } from 'node:fs';
import { open, readdir, unlink, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { blockBuffers } from '../../ebs/block-buffers.js';
import { BLOCK_BYTES } from '../../ebs/constants.js';
import { systemCodeOf } from '../../util/errors.js';
import { writeWhole } from '../../util/whole-write.js';
import { PRIVATE_FILE_MODE } from './cache-folder.js';
import type { BlockPlace } from './index-entry.js';

/** A cache consists of about so many segments: what is evicted at once is a thousandth of it. */
const SEGMENTS_PER_CACHE = 1024;
/** Small enough for the 16 bits of a slot; the largest segment has 1 GiB. */
const SEGMENT_BLOCKS_MAX = 2048;
/** 8 MiB: else a small cache would begin a file for each few blocks. */
const SEGMENT_BLOCKS_MIN = 16;
/** But with fewer segments than this, evicting would be too coarse. */
const SEGMENTS_MIN = 16;

/** Segment files that are kept open for reading. */
const OPEN_FILES_MAX = 64;

/** The part of the segments, the oldest first, in which a block that is used is moved to the newest. */
const OLD_PART = 0.25;

/**
 * The number of a segment is the millisecond in which it was begun, times this, plus the binary logarithm of the blocks
 * that it has room for: nothing has to be asked of the files to know their order and their size.
 */
const NUMBERS_PER_MS = 16;
const NAME = /^segment-([0-9a-f]{12})$/;

/** Left beside a segment that its writer did not fill: from which slot on there is room. */
const ROOM_NAME = /^room-([0-9a-f]{12})-(\d{1,4})$/;

/**
 * Blocks in files of many blocks each, which are written from front to back and evicted whole, the oldest first; who is
 * used in the oldest quarter moves to the newest, so that what goes is what has not been used for long. Each process
 * writes segments of its own; all of them read, and evict, any. Nothing is kept in memory but what is open.
 */
export class Segments {
  readonly #folder: string;
  readonly #blocksMax: number;
  readonly #segmentBlocksLog2: number;
  readonly #readers: LRUCache<number, Promise<FileHandle>>;
  #writing: { readonly segment: number; readonly file: FileHandle } | undefined;
  #nextSlot = 0;
  #oldBefore = 0;

  constructor(folder: string, blocksMax: number) {
    this.#folder = folder;
    this.#blocksMax = blocksMax;
    const wanted = Math.min(
      SEGMENT_BLOCKS_MAX,
      blocksMax / SEGMENTS_MIN,
      Math.max(SEGMENT_BLOCKS_MIN, blocksMax / SEGMENTS_PER_CACHE),
    );
    this.#segmentBlocksLog2 = Math.floor(Math.log2(Math.max(1, wanted)));
    this.#readers = new LRUCache({
      max: OPEN_FILES_MAX,
      // One that could not be opened needs no closing.
      dispose: (file) => void file.then((opened) => opened.close()).catch(() => undefined),
    });
  }

  /** Whether a block that is used there should be written again, before its segment is evicted. */
  isOld({ segment }: BlockPlace): boolean {
    return segment < this.#oldBefore;
  }

  /**
   * Reads a block.
   *
   * @returns whatever is there, which may be anything; undefined when the segment has been evicted.
   * @throws errors of the file system.
   */
  async read({ segment, slot }: BlockPlace): Promise<Buffer | undefined> {
    const block = blockBuffers.take();
    try {
      const file = await this.#reader(segment);
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, slot * BLOCK_BYTES);
      return bytesRead === BLOCK_BYTES ? block : undefined;
    } catch (error) {
      this.#readers.delete(segment);
      // Evicted, by whichever process; also while it was read, when its file had to be closed for others.
      if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'EBADF') return undefined;
      throw error;
    }
  }

  /** Whether the segment is still there. @throws errors of the file system. */
  async has({ segment }: BlockPlace): Promise<boolean> {
    try {
      const file = await this.#reader(segment);
      // Evicted by another process, the file is there for as long as it is open here.
      return (await file.stat()).nlink > 0;
    } catch (error) {
      this.#readers.delete(segment);
      if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'EBADF') return false;
      throw error;
    }
  }

  /** Writes a block. One at a time. @throws errors of the file system, such as a disk that is full. */
  async append(block: Buffer): Promise<BlockPlace> {
    if (this.#writing === undefined || this.#nextSlot >= blocksOf(this.#writing.segment)) await this.#begin();
    const writing = this.#writing;
    if (writing === undefined) throw new Error('no segment is open');
    const slot = this.#nextSlot;
    this.#nextSlot += 1;
    await writeWhole(writing.file, block, slot * BLOCK_BYTES);
    return { segment: writing.segment, slot };
  }

  /** Evicts until there is room for `roomBlocks`, and takes note of which segments are old. */
  async evict(roomBlocks: number): Promise<void> {
    const segments = (await readdir(this.#folder)).flatMap(numberOf).sort((a, b) => a - b);
    let blocks = segments.reduce((sum, segment) => sum + blocksOf(segment), 0);
    let evictedCount = 0;
    for (const segment of segments) {
      if (blocks + roomBlocks <= this.#blocksMax) break;
      this.#readers.delete(segment);
      await unlink(this.#pathOf(segment)).catch((error: unknown) => {
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      });
      blocks -= blocksOf(segment);
      evictedCount += 1;
    }
    const left = segments.slice(evictedCount);
    // While there is room, nothing is about to be evicted, and nothing has to move.
    const isFull = blocks + roomBlocks > this.#blocksMax - this.#blocksMax * OLD_PART;
    this.#oldBefore = isFull ? (left[Math.floor(left.length * OLD_PART)] ?? 0) : 0;
  }

  async close(): Promise<void> {
    this.#readers.clear();
    const writing = this.#writing;
    this.#writing = undefined;
    await writing?.file.close();
    if (writing === undefined || this.#nextSlot >= blocksOf(writing.segment)) return;
    const name = `room-${hexOf(writing.segment)}-${this.#nextSlot}`;
    await writeFile(join(this.#folder, name), '', { mode: PRIVATE_FILE_MODE });
  }

  async #begin(): Promise<void> {
    const finished = this.#writing;
    this.#writing = undefined;
    await finished?.file.close();
    if (finished === undefined && (await this.#goOnWithOne())) return;
    await this.evict(2 ** this.#segmentBlocksLog2);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    // Another process may have taken the number of this millisecond.
    let segment = Date.now() * NUMBERS_PER_MS + this.#segmentBlocksLog2;
    for (; ; segment += NUMBERS_PER_MS) {
      try {
        const file = await open(this.#pathOf(segment), flags, PRIVATE_FILE_MODE);
        this.#writing = { segment, file };
        this.#nextSlot = 0;
        return;
      } catch (error) {
        if (systemCodeOf(error) !== 'EEXIST') throw error;
      }
    }
  }

  /** Goes on with a segment that another process, or this one earlier, has left with room in it. */
  async #goOnWithOne(): Promise<boolean> {
    for (const name of await readdir(this.#folder)) {
      const [, digits, slot] = ROOM_NAME.exec(name) ?? [];
      if (digits === undefined) continue;
      const segment = Number.parseInt(digits, 16);
      try {
        // Whoever removes the file has the room.
        await unlink(join(this.#folder, name));
        const file = await open(this.#pathOf(segment), constants.O_WRONLY | constants.O_NOFOLLOW);
        this.#writing = { segment, file };
        this.#nextSlot = Number(slot);
        return true;
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      }
    }
    return false;
  }

  #openForReading(segment: number): Promise<FileHandle> {
    return open(this.#pathOf(segment), constants.O_RDONLY | constants.O_NOFOLLOW);
  }

  #reader(segment: number): Promise<FileHandle> {
    const known = this.#readers.get(segment);
    if (known !== undefined) return known;
    const opening = this.#openForReading(segment);
    this.#readers.set(segment, opening);
    return opening;
  }

  #pathOf(segment: number): string {
    return join(this.#folder, `segment-${hexOf(segment)}`);
  }
}

function hexOf(segment: number): string {
  return segment.toString(16).padStart(12, '0');
}

/** The number of a segment by the name of its file, in a list; none for other files. */
function numberOf(name: string): readonly number[] {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? [] : [Number.parseInt(digits, 16)];
}

/** How many blocks a segment has room for. */
function blocksOf(segment: number): number {
  return 2 ** (segment % NUMBERS_PER_MS);
}
