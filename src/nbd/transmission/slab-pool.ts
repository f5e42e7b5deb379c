import { KIB } from '../../util/units.js';

/** 256 KiB: some sixty replies of 4 KiB, which is what one batch of a busy client makes. */
export const SLAB_BYTES = 256 * KIB;
/** 16 slabs (4 MiB) are kept for later; beyond that they go back to the allocator. */
const KEPT_MAX = 16;

/**
 * Buffers in which replies are put together, shared by all connections: a connection has one only while it has something
 * to send. They are used again, since memory fresh from the allocator costs more than what is done with it.
 */
export class SlabPool {
  readonly #free: Buffer[] = [];

  /** A slab with any content. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  /** Gives a slab back, once nothing refers to it. */
  give(slab: Buffer): void {
    if (this.#free.length < KEPT_MAX) this.#free.push(slab);
  }
}
