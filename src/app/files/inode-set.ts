/** Inodes of one page of the bitmap. */
const PAGE_INODES = 32_768;

/** A set of inode numbers that takes one bit for each that a filesystem could have near one that is in it. */
export class InodeSet {
  readonly #pages = new Map<number, Uint8Array>();

  /** @returns false when it was in the set already. */
  add(inodeNumber: number): boolean {
    const pageIndex = Math.floor(inodeNumber / PAGE_INODES);
    const bit = inodeNumber % PAGE_INODES;
    const page = this.#pages.get(pageIndex) ?? new Uint8Array(PAGE_INODES / 8);
    this.#pages.set(pageIndex, page);
    const mask = 1 << (bit & 7);
    const byte = page[bit >>> 3] ?? 0;
    page[bit >>> 3] = byte | mask;
    return (byte & mask) === 0;
  }
}
