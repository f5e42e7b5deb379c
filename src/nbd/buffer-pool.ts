/** Buffers of one length that are used again, since memory fresh from the allocator costs more than what is done with it. */
export class BufferPool {
  readonly #bufferBytes: number;
  readonly #keptMax: number;
  readonly #free: Buffer[] = [];

  /**
   * @param bufferBytes how long each is, in bytes.
   * @param keptMax how many are kept for later at most; beyond that they go back to the allocator.
   */
  constructor(bufferBytes: number, keptMax: number) {
    this.#bufferBytes = bufferBytes;
    this.#keptMax = keptMax;
  }

  /** A buffer with any content. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bufferBytes);
  }

  /** Takes a buffer back, once nothing refers to it. */
  give(buffer: Buffer): void {
    if (this.#free.length < this.#keptMax) this.#free.push(buffer);
  }
}
