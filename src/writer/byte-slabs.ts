import { KIB } from '../util/units.js';

/** Memory is taken so much at a time. A piece that is kept keeps all of its slab. */
const SLAB_BYTES = 256 * KIB;
/** Larger pieces have memory of their own. */
const PIECE_BYTES_MAX = 32 * KIB;

/** Hands out many small pieces of memory, which as allocations of their own would keep the garbage collector busy. */
export class ByteSlabs {
  #slab = Buffer.alloc(0);
  #used = 0;

  /** A piece with any content. */
  take(lengthBytes: number): Buffer {
    if (lengthBytes > PIECE_BYTES_MAX) return Buffer.allocUnsafeSlow(lengthBytes);
    if (this.#used + lengthBytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += lengthBytes;
    return this.#slab.subarray(start, this.#used);
  }
}
