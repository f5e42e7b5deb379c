import { assert } from '../util/assert.js';
import type { Lease } from '../util/lease.js';
import { MIB } from '../util/units.js';
import { BLOCK_BYTES } from './constants.js';

/** What waits to be used again, at most: what a cache has to push out at once for all calls that are under way. */
const FREE_BYTES_MAX = 64 * MIB;

/** Who has a buffer. */
interface BufferUse {
  /** Whoever took it, or a cache after them, has not dropped it yet. */
  isOwned: boolean;
  /** Somebody has it, or had, who does not say when they have done. */
  isLoose: boolean;
  leaseCount: number;
  isFree: boolean;
  onUnused: (() => void) | undefined;
}

/**
 * Buffers of a block each that are used again. A new one for each block would be mapped and cleared page by page, and make
 * the garbage collector run for each 64 MiB.
 *
 * A buffer is used again only when it is proven that nobody has it: its owner has dropped it, every lease of it has ended,
 * and nobody was given it without a lease. And not before the next turn of the event loop: whoever was just given it by a
 * promise takes a lease in this one. What fails to be proven is left to the garbage collector.
 */
export class BlockBuffers {
  /** By the memory, which views of the buffer share with it. */
  readonly #uses = new WeakMap<ArrayBufferLike, BufferUse>();
  readonly #freeMax: number;
  readonly #free: Buffer[] = [];
  /** Nobody has had these since this turn of the event loop. */
  #unused = new Set<ArrayBufferLike>();

  /** @param freeBytesMax what waits to be used again, at most. Default: 64 MiB. */
  constructor(freeBytesMax = FREE_BYTES_MAX) {
    this.#freeMax = Math.floor(freeBytesMax / BLOCK_BYTES);
  }

  /** A buffer of a block with any content, to be dropped once; what is not is left to the garbage collector. */
  take(): Buffer {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#uses.set(buffer.buffer, {
      isOwned: true,
      isLoose: false,
      leaseCount: 0,
      isFree: false,
      onUnused: undefined,
    });
    return buffer;
  }

  /** Somebody is about to look at a buffer, or a view of one. @param lease that will end; undefined: nobody knows when. */
  lend(bytes: Uint8Array, lease: Lease | undefined): void {
    const use = this.#useOf(bytes);
    if (use === undefined || use.isLoose) return;
    const memory = bytes.buffer;
    this.#unused.delete(memory);
    if (lease === undefined) {
      use.isLoose = true;
      return;
    }
    use.leaseCount += 1;
    lease.hold(() => {
      use.leaseCount -= 1;
      this.#look(memory, use);
    });
  }

  /**
   * A cache has the buffer from now on, and will drop it; also one that was dropped just now.
   *
   * @param onUnused called each time that nobody has it any more, which may never be found out.
   */
  keep(buffer: Buffer, onUnused: () => void): void {
    const use = this.#useOf(buffer);
    if (use === undefined) return;
    this.#unused.delete(buffer.buffer);
    use.isOwned = true;
    use.onUnused = onUnused;
  }

  /** A cache keeps the buffer no longer, or who took it has done with it. Once. */
  drop(buffer: Buffer): void {
    const use = this.#useOf(buffer);
    if (use === undefined) return;
    use.isOwned = false;
    this.#look(buffer.buffer, use);
  }

  /** Undefined for memory that came from elsewhere: it is never used again. */
  #useOf(bytes: Uint8Array): BufferUse | undefined {
    const use = this.#uses.get(bytes.buffer);
    assert(use?.isFree !== true, 'a buffer is in use that nobody has');
    return use;
  }

  #look(memory: ArrayBufferLike, use: BufferUse): void {
    if (use.isOwned || use.isLoose || use.leaseCount > 0) return;
    use.onUnused?.();
    if (this.#unused.size === 0) setImmediate(this.#collect);
    this.#unused.add(memory);
  }

  readonly #collect = (): void => {
    const unused = this.#unused;
    this.#unused = new Set();
    for (const memory of unused) {
      const use = this.#uses.get(memory);
      if (use === undefined || this.#free.length >= this.#freeMax) continue;
      use.isFree = true;
      this.#free.push(Buffer.from(memory));
    }
  };
}

/** Those of the process. */
export const blockBuffers = new BlockBuffers();
