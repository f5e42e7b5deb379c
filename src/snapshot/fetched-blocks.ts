/** Of one snapshot: 4 GiB of blocks. */
const BLOCKS_MAX = 8192;

/**
 * The blocks of a snapshot that came last, also those that have left the cache since. Fetching one of them again for
 * later is most likely a wrong guess: another reader has been there.
 */
export class FetchedBlocks {
  readonly #indexes = new Set<number>();

  add(blockIndex: number): void {
    this.#indexes.delete(blockIndex);
    this.#indexes.add(blockIndex);
    if (this.#indexes.size <= BLOCKS_MAX) return;
    for (const oldest of this.#indexes) {
      this.#indexes.delete(oldest);
      return;
    }
  }

  has(blockIndex: number): boolean {
    return this.#indexes.has(blockIndex);
  }
}
