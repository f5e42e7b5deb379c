import { KIB, MIB } from '../../util/units.js';

/** Smaller payloads come in one piece mostly, and cost little. */
const POOLED_BYTES_MIN = 64 * KIB;
/** Larger ones are rare. */
const POOLED_BYTES_MAX = 4 * MIB;
/** What is kept for later, at most. */
const KEPT_BYTES_MAX = 32 * MIB;

/**
 * Buffers for the payloads of large writes, shared by all connections and used again: memory fresh from the allocator
 * is mapped page by page while it is filled, which costs as much as filling it.
 */
export class PayloadPool {
  readonly #free = new Map<number, Buffer[]>();
  readonly #lent = new WeakSet<Buffer>();
  #keptBytes = 0;

  /** A buffer of this length, with any content. */
  take(lengthBytes: number): Buffer {
    if (lengthBytes < POOLED_BYTES_MIN || lengthBytes > POOLED_BYTES_MAX) {
      return Buffer.allocUnsafeSlow(lengthBytes);
    }
    const sizeBytes = 2 ** Math.ceil(Math.log2(lengthBytes));
    const kept = this.#free.get(sizeBytes)?.pop();
    if (kept !== undefined) this.#keptBytes -= sizeBytes;
    const whole = kept ?? Buffer.allocUnsafeSlow(sizeBytes);
    const buffer = whole.subarray(0, lengthBytes);
    this.#lent.add(buffer);
    return buffer;
  }

  /** Takes a buffer back that nobody refers to any more; one from elsewhere is left alone. */
  give(buffer: Buffer): void {
    if (buffer.length < POOLED_BYTES_MIN || !this.#lent.delete(buffer)) return;
    const sizeBytes = buffer.buffer.byteLength;
    if (this.#keptBytes + sizeBytes > KEPT_BYTES_MAX) return;
    const free = this.#free.get(sizeBytes) ?? [];
    free.push(Buffer.from(buffer.buffer));
    this.#free.set(sizeBytes, free);
    this.#keptBytes += sizeBytes;
  }
}
