import type { Lease } from '../util/lease.js';
import { RangeSet } from './range-set.js';

/** Memory for as many pages is kept for later at most: 4 MiB, what one of the largest usual writes takes. */
const SPARES_MAX = 16;

/** While views of a page's bytes are abroad they must not change: a write goes to a copy, which nobody has yet. */
interface Loan {
  leaseCount: number;
  /** Somebody has a view who does not say when they have done. */
  isForGood: boolean;
}

interface Page {
  bytes: Buffer;
  /** Of these bytes. */
  loan: Loan | undefined;
}

/** What a run of neighbouring pages is: has bytes; zeros that keep their place; nothing. */
export type PageState = 'allocated' | 'reserved' | 'hole';

/** Neighbouring pages in the same state, from where was asked up to, not including, `endIndex`. */
export interface PageRun {
  readonly state: PageState;
  readonly endIndex: number;
}

/**
 * The pages of a sparse disk. A page that is lent to a reader is copied before it changes, so that what was handed
 * out stays as it was; the copy is made at most once for each time the page is lent.
 */
export class PageTable {
  readonly #pageBytes: number;
  readonly #pages = new Map<number, Page>();
  /** Memory of pages that others were put in place of. */
  readonly #spares: Buffer[] = [];
  /** Pages that were zeroed on condition that they keep their place; those with bytes may be among them. */
  readonly #reserved = new RangeSet();
  /** The indexes of the pages with bytes, ascending; undefined when it has to be made again. */
  #sortedIndexes: Float64Array | undefined;

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /** How many pages have bytes. */
  get pageCount(): number {
    return this.#pages.size;
  }

  /** The bytes of a page, to look at now; undefined when they are zeros. */
  get(index: number): Buffer | undefined {
    return this.#pages.get(index)?.bytes;
  }

  /**
   * The bytes of a page, which will not change before the lease ends. Undefined when they are zeros.
   *
   * @param lease undefined: they will never change.
   */
  lend(index: number, lease: Lease | undefined): Buffer | undefined {
    const page = this.#pages.get(index);
    if (page === undefined) return undefined;
    const loan = (page.loan ??= { leaseCount: 0, isForGood: false });
    if (lease === undefined) {
      loan.isForGood = true;
    } else {
      loan.leaseCount += 1;
      lease.hold(() => (loan.leaseCount -= 1));
    }
    return page.bytes;
  }

  /** The bytes of a page, to be changed in part. */
  modify(index: number): Buffer {
    const page = this.#pages.get(index);
    if (page === undefined) return this.#allocate(index, Buffer.alloc(this.#pageBytes));
    if (isLent(page)) {
      const copy = Buffer.allocUnsafeSlow(this.#pageBytes);
      page.bytes.copy(copy);
      page.bytes = copy;
      page.loan = undefined;
    }
    return page.bytes;
  }

  /** The bytes of a page, all of which the caller is about to write. */
  replace(index: number): Buffer {
    const page = this.#pages.get(index);
    if (page === undefined) return this.#allocate(index, Buffer.allocUnsafeSlow(this.#pageBytes));
    if (isLent(page)) {
      page.bytes = Buffer.allocUnsafeSlow(this.#pageBytes);
      page.loan = undefined;
    }
    return page.bytes;
  }

  /** Memory for a page, with any content, to be filled and {@link put}. */
  take(): Buffer {
    return this.#spares.pop() ?? Buffer.allocUnsafeSlow(this.#pageBytes);
  }

  /** Makes `bytes`, which {@link take} gave, the page at `index`; its memory until now is used again unless it is lent. */
  put(index: number, bytes: Buffer): void {
    const page = this.#pages.get(index);
    if (page === undefined) {
      this.#allocate(index, bytes);
      return;
    }
    if (!isLent(page) && this.#spares.length < SPARES_MAX) this.#spares.push(page.bytes);
    page.bytes = bytes;
    page.loan = undefined;
  }

  /** Zeroes a part of one page. A page that is a hole becomes one with bytes only when it is to be reserved. */
  fillPart(index: number, start: number, lengthBytes: number, isReserved: boolean): void {
    if (lengthBytes === 0 || (!isReserved && !this.#pages.has(index))) return;
    this.modify(index).fill(0, start, start + lengthBytes);
  }

  /** Makes the pages from `startIndex` up to, not including, `endIndex` read as zeros and gives their memory back. */
  clearRange(startIndex: number, endIndex: number, isReserved: boolean): void {
    if (endIndex - startIndex < this.#pages.size) {
      for (let index = startIndex; index < endIndex; index += 1) this.#drop(index);
    } else {
      for (const index of this.#pages.keys()) {
        if (index >= startIndex && index < endIndex) this.#drop(index);
      }
    }
    if (isReserved) this.#reserved.add(startIndex, endIndex);
    else this.#reserved.remove(startIndex, endIndex);
  }

  /** What the page at `index` is, and how far its neighbours up to `limitIndex` are the same. */
  runAt(index: number, limitIndex: number): PageRun {
    const indexes = this.#allocatedIndexes();
    let position = lowerBound(indexes, index);
    let nextAllocated = indexes[position] ?? limitIndex;
    if (nextAllocated === index && index < limitIndex) {
      let endIndex = index;
      while (endIndex < limitIndex && nextAllocated === endIndex) {
        endIndex += 1;
        position += 1;
        nextAllocated = indexes[position] ?? limitIndex;
      }
      return { state: 'allocated', endIndex };
    }
    const reserved = this.#reserved.firstFrom(index);
    if (reserved === undefined) return { state: 'hole', endIndex: Math.min(nextAllocated, limitIndex) };
    if (reserved.start > index) {
      return { state: 'hole', endIndex: Math.min(nextAllocated, limitIndex, reserved.start) };
    }
    return { state: 'reserved', endIndex: Math.min(nextAllocated, limitIndex, reserved.end) };
  }

  #allocate(index: number, bytes: Buffer): Buffer {
    this.#pages.set(index, { bytes, loan: undefined });
    this.#sortedIndexes = undefined;
    return bytes;
  }

  #drop(index: number): void {
    if (this.#pages.delete(index)) this.#sortedIndexes = undefined;
  }

  #allocatedIndexes(): Float64Array {
    this.#sortedIndexes ??= Float64Array.from(this.#pages.keys()).sort();
    return this.#sortedIndexes;
  }
}

function isLent({ loan }: Page): boolean {
  return loan !== undefined && (loan.isForGood || loan.leaseCount > 0);
}

/** The position of the first value that is at least `value`. */
function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? Infinity) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
