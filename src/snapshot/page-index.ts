import type { TokenPage } from './token-page.js';

/**
 * The pages of one snapshot in order of their range: never two for one block, found in the logarithm of their number,
 * and bounded in bytes by dropping those that were looked at least recently.
 */
export class PageIndex {
  readonly #bytesMax: number;
  readonly #pages: TokenPage[] = [];
  #sizeBytes = 0;
  #tick = 0;

  /** @param bytesMax the page that was put in last is kept in any case. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get pageCount(): number {
    return this.#pages.length;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The page that covers a block, which counts as looking at it. */
  find(blockIndex: number): TokenPage | undefined {
    const page = this.#pages[this.#positionOf(blockIndex)];
    if (page === undefined || page.startIndex > blockIndex) return undefined;
    this.#tick += 1;
    page.usedTick = this.#tick;
    return page;
  }

  /** The last page that ends at or before a block that no page covers, and the first that begins after it. */
  neighbours(blockIndex: number): { before: TokenPage | undefined; after: TokenPage | undefined } {
    const position = this.#positionOf(blockIndex);
    return { before: this.#pages[position - 1], after: this.#pages[position] };
  }

  /** Puts a page in. What others say about its range gives way to it; what they say about the rest stays. */
  insert(page: TokenPage): void {
    const pages = this.#pages;
    const first = this.#positionOf(page.startIndex);
    let end = first;
    const pieces: TokenPage[] = [];
    for (let old = pages[end]; old !== undefined && old.startIndex < page.endIndex; old = pages[end]) {
      if (old.startIndex < page.startIndex) pieces.push(old.within(old.startIndex, page.startIndex));
      if (old.endIndex > page.endIndex) pieces.push(old.within(page.endIndex, old.endIndex));
      this.#sizeBytes -= old.sizeBytes;
      end += 1;
    }
    pieces.push(page);
    pieces.sort((a, b) => a.startIndex - b.startIndex);
    for (const piece of pieces) this.#sizeBytes += piece.sizeBytes;
    pages.splice(first, end - first, ...pieces);
    this.#tick += 1;
    page.usedTick = this.#tick;
    while (this.#sizeBytes > this.#bytesMax && pages.length > 1) this.#dropLeastRecent();
  }

  clear(): void {
    this.#pages.length = 0;
    this.#sizeBytes = 0;
  }

  // A look at some thousand numbers, beside a list call over the network.
  #dropLeastRecent(): void {
    let dropPosition = 0;
    let dropTick = Number.POSITIVE_INFINITY;
    for (let position = 0; position < this.#pages.length; position += 1) {
      const usedTick = this.#pages[position]?.usedTick ?? 0;
      if (usedTick < dropTick) {
        dropTick = usedTick;
        dropPosition = position;
      }
    }
    const [dropped] = this.#pages.splice(dropPosition, 1);
    this.#sizeBytes -= dropped?.sizeBytes ?? 0;
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
