/** Bits of one page: 4 KiB of memory. */
const PAGE_BITS = 32_768;

/**
 * A set of small whole numbers, such as the blocks of a disk, with memory for the neighbourhoods alone that have any: at
 * most 16 MiB for the 134 million blocks of the largest volume.
 */
export class IndexBits {
  readonly #pages = new Map<number, Uint32Array>();

  /** @returns false when it was there already. */
  add(index: number): boolean {
    const pageIndex = Math.floor(index / PAGE_BITS);
    let page = this.#pages.get(pageIndex);
    if (page === undefined) {
      page = new Uint32Array(PAGE_BITS / 32);
      this.#pages.set(pageIndex, page);
    }
    const at = index - pageIndex * PAGE_BITS;
    const word = page[at >>> 5] ?? 0;
    const bit = 1 << (at & 31);
    if ((word & bit) !== 0) return false;
    page[at >>> 5] = word | bit;
    return true;
  }

  /** @returns false when it was not there. */
  delete(index: number): boolean {
    const pageIndex = Math.floor(index / PAGE_BITS);
    const page = this.#pages.get(pageIndex);
    if (page === undefined) return false;
    const at = index - pageIndex * PAGE_BITS;
    const word = page[at >>> 5] ?? 0;
    const bit = 1 << (at & 31);
    if ((word & bit) === 0) return false;
    page[at >>> 5] = word & ~bit;
    return true;
  }
}
