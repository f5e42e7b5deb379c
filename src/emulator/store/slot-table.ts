import { PAGE_BLOCKS } from './index-format.js';

/** A block and the slot that holds it. */
export interface SlotEntry {
  readonly blockIndex: number;
  readonly slot: number;
}

/** Which slot holds which block: four bytes for each block of every GiB in which there is one. */
export class SlotTable {
  /** By GiB; the slot plus one, 0 for none. */
  readonly #pages = new Map<number, Uint32Array>();
  #count = 0;

  /** Blocks that have a slot. */
  get count(): number {
    return this.#count;
  }

  get(blockIndex: number): number | undefined {
    const value = this.#pages.get(Math.floor(blockIndex / PAGE_BLOCKS))?.[blockIndex % PAGE_BLOCKS] ?? 0;
    return value === 0 ? undefined : value - 1;
  }

  set(blockIndex: number, slot: number): void {
    const pageIndex = Math.floor(blockIndex / PAGE_BLOCKS);
    let page = this.#pages.get(pageIndex);
    if (page === undefined) {
      page = new Uint32Array(PAGE_BLOCKS);
      this.#pages.set(pageIndex, page);
    }
    const at = blockIndex % PAGE_BLOCKS;
    if (page[at] === 0) this.#count += 1;
    page[at] = slot + 1;
  }

  delete(blockIndex: number): void {
    const page = this.#pages.get(Math.floor(blockIndex / PAGE_BLOCKS));
    const at = blockIndex % PAGE_BLOCKS;
    if (page === undefined || page[at] === 0) return;
    page[at] = 0;
    this.#count -= 1;
  }

  /** The GiB in which there are blocks, ascending. */
  pageIndexes(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b);
  }

  /** The blocks of one GiB, ascending. */
  entries(pageIndex: number): SlotEntry[] {
    const found: SlotEntry[] = [];
    this.#pages.get(pageIndex)?.forEach((value, at) => {
      if (value !== 0) found.push({ blockIndex: pageIndex * PAGE_BLOCKS + at, slot: value - 1 });
    });
    return found;
  }
}
