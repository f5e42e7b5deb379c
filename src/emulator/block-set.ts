const CHUNK_BLOCKS = 2048;
const CHUNK_BYTES = CHUNK_BLOCKS / 8;

/** What the sets of one counter may take together. */
export class BlockSetBudget {
  #chunksLeft: number;

  /** @param maxBytes of bits, for all sets. */
  constructor(maxBytes: number) {
    this.#chunksLeft = Math.floor(maxBytes / CHUNK_BYTES);
  }

  /** True when there is room for another chunk, which is then taken. */
  tryTake(): boolean {
    if (this.#chunksLeft === 0) return false;
    this.#chunksLeft -= 1;
    return true;
  }
}

/** A set of block indexes: one bit each, in chunks of 256 bytes for a GiB, so at most 16 MiB for 64 TiB. */
export class BlockSet {
  readonly #chunks = new Map<number, Uint8Array>();
  readonly #budget: BlockSetBudget;
  #size = 0;
  #isExact = true;

  constructor(budget: BlockSetBudget) {
    this.#budget = budget;
  }

  /** Members, or null when there was no room for some of them. */
  get size(): number | null {
    return this.#isExact ? this.#size : null;
  }

  /** Adds an index; a second time changes nothing. */
  add(blockIndex: number): void {
    const chunk = this.#chunkOf(blockIndex);
    if (chunk === undefined) {
      this.#isExact = false;
      return;
    }
    const bit = blockIndex % CHUNK_BLOCKS;
    const byte = chunk[bit >>> 3] ?? 0;
    const mask = 1 << (bit & 7);
    if ((byte & mask) !== 0) return;
    chunk[bit >>> 3] = byte | mask;
    this.#size += 1;
  }

  #chunkOf(blockIndex: number): Uint8Array | undefined {
    const chunkIndex = Math.floor(blockIndex / CHUNK_BLOCKS);
    let chunk = this.#chunks.get(chunkIndex);
    if (chunk === undefined && this.#budget.tryTake()) {
      chunk = new Uint8Array(CHUNK_BYTES);
      this.#chunks.set(chunkIndex, chunk);
    }
    return chunk;
  }
}
