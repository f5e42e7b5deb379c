import type { PageHolder, TokenMemory } from './token-memory.js';

/** What one listing proved about the blocks from `startIndex` up to, without, `endIndex`. */
export interface IndexedPage<Page> {
  readonly startIndex: number;
  readonly endIndex: number;
  /** What it takes in memory. */
  readonly sizeBytes: number;
  /** When it was last looked at, in the order of such looks. */
  usedTick: number;
  /** What it says of a narrower range. */
  within(startIndex: number, endIndex: number): Page;
}

/**
 * The pages of one listing in order of their range: never two for one block, and found in the logarithm of their
 * number. They share their bound in bytes with those of other listings.
 */
export class PageIndex<Page extends IndexedPage<Page>> implements PageHolder {
  readonly #memory: TokenMemory;
  readonly #pages: Page[] = [];
  #sizeBytes = 0;

  constructor(memory: TokenMemory) {
    this.#memory = memory;
    memory.join(this);
  }

  get pageCount(): number {
    return this.#pages.length;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** In order of their range. Does not count as looking at them. */
  all(): readonly Page[] {
    return this.#pages;
  }

  /** The page that covers a block, which counts as looking at it. */
  find(blockIndex: number): Page | undefined {
    const page = this.#pages[this.#positionOf(blockIndex)];
    if (page === undefined || page.startIndex > blockIndex) return undefined;
    page.usedTick = this.#memory.nextTick();
    return page;
  }

  /** The last page that ends at or before a block that no page covers, and the first that begins after it. */
  neighbours(blockIndex: number): { before: Page | undefined; after: Page | undefined } {
    const position = this.#positionOf(blockIndex);
    return { before: this.#pages[position - 1], after: this.#pages[position] };
  }

  /** Puts a page in. What others say about its range gives way to it; what they say about the rest stays. */
  insert(page: Page): void {
    const pages = this.#pages;
    const first = this.#positionOf(page.startIndex);
    let end = first;
    const pieces: Page[] = [];
    let changeBytes = 0;
    for (let old = pages[end]; old !== undefined && old.startIndex < page.endIndex; old = pages[end]) {
      if (old.startIndex < page.startIndex) pieces.push(old.within(old.startIndex, page.startIndex));
      if (old.endIndex > page.endIndex) pieces.push(old.within(page.endIndex, old.endIndex));
      changeBytes -= old.sizeBytes;
      end += 1;
    }
    pieces.push(page);
    pieces.sort((a, b) => a.startIndex - b.startIndex);
    for (const piece of pieces) changeBytes += piece.sizeBytes;
    pages.splice(first, end - first, ...pieces);
    this.#changeBy(changeBytes);
    page.usedTick = this.#memory.nextTick();
    this.#memory.trim(page.usedTick);
  }

  /** Drops everything; nothing may be put in afterwards. */
  close(): void {
    this.#pages.length = 0;
    this.#changeBy(-this.#sizeBytes);
    this.#memory.leave(this);
  }

  leastRecentTick(): number | undefined {
    return this.#pages[this.#leastRecentPosition()]?.usedTick;
  }

  dropLeastRecent(): void {
    const [dropped] = this.#pages.splice(this.#leastRecentPosition(), 1);
    this.#changeBy(-(dropped?.sizeBytes ?? 0));
  }

  #changeBy(bytes: number): void {
    this.#sizeBytes += bytes;
    this.#memory.changeBy(bytes);
  }

  #leastRecentPosition(): number {
    let leastPosition = 0;
    let leastTick = Number.POSITIVE_INFINITY;
    for (let position = 0; position < this.#pages.length; position += 1) {
      const usedTick = this.#pages[position]?.usedTick ?? 0;
      if (usedTick < leastTick) {
        leastTick = usedTick;
        leastPosition = position;
      }
    }
    return leastPosition;
  }

  // Of the first page that ends after the block.
  #positionOf(blockIndex: number): number {
    const pages = this.#pages;
    let low = 0;
    let high = pages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((pages[middle]?.endIndex ?? 0) <= blockIndex) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
