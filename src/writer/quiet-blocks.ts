/** A change of more blocks than this is not remembered block by block: trims and the like are done with them. */
const REMEMBERED_BLOCKS_MAX = 1024;

/** Which blocks have been left alone for a while: for at least one turn, and at most two. */
export class QuietBlocks {
  #young = new Set<number>();
  #older = new Set<number>();

  /** The blocks from `startBlock` up to, not including, `endBlock` have changed. */
  changed(startBlock: number, endBlock: number): void {
    if (endBlock - startBlock > REMEMBERED_BLOCKS_MAX) return;
    for (let block = startBlock; block < endBlock; block += 1) this.#young.add(block);
  }

  /** A turn has passed. */
  turn(): void {
    this.#older = this.#young;
    this.#young = new Set();
  }

  has(block: number): boolean {
    return !this.#older.has(block) && !this.#young.has(block);
  }
}
