const CHUNK_BLOCKS = 2048;
const CHUNK_BYTES = CHUNK_BLOCKS / 8;

/** A set of block indexes: one bit each, in chunks of 256 bytes for a GiB, so at most 16 MiB for 64 TiB. */
export class BlockSet {
  readonly #chunks = new Map<number, Uint8Array>();
  #size = 0;

  /** Members. */
  get size(): number {
    return this.#size;
  }

  /** Adds an index; a second time changes nothing. */
  add(blockIndex: number): void {
    const chunkIndex = Math.floor(blockIndex / CHUNK_BLOCKS);
    let chunk = this.#chunks.get(chunkIndex);
    if (chunk === undefined) {
      chunk = new Uint8Array(CHUNK_BYTES);
      this.#chunks.set(chunkIndex, chunk);
    }
    const bit = blockIndex % CHUNK_BLOCKS;
    const byte = chunk[bit >>> 3] ?? 0;
    const mask = 1 << (bit & 7);
    if ((byte & mask) !== 0) return;
    chunk[bit >>> 3] = byte | mask;
    this.#size += 1;
  }
}
