import type { PageReference } from './index-format.js';

/** The listed blocks of one GiB of a snapshot, ascending by index. */
export interface IndexPage {
  readonly rowCount: number;
  blockIndexAt(row: number): number;
  /** The snapshot that holds the block. */
  ownerAt(row: number): string;
  /** Where the owner holds it; ZERO_SLOT for explicit zeros. */
  slotAt(row: number): number;
  /** SHA-256 of the block, or undefined where it is computed together with the block. */
  digestAt(row: number): Buffer | undefined;
}

/** A complete snapshot as one disk, its ancestors' blocks included. */
export interface SnapshotView {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  /** Undefined when nothing is listed in that GiB, or it lies past the end. Equal references, equal pages. */
  pageReference(pageIndex: number): PageReference | undefined;
  /** Loads that page and nothing else. */
  page(pageIndex: number): Promise<IndexPage | undefined>;
}

/** The first row at or after `blockIndex`: `rowCount` when there is none. */
export function lowerBound(page: IndexPage, blockIndex: number): number {
  let low = 0;
  let high = page.rowCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (page.blockIndexAt(middle) < blockIndex) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The row of `blockIndex`, or undefined when it is not listed. */
export function findRow(page: IndexPage, blockIndex: number): number | undefined {
  const row = lowerBound(page, blockIndex);
  return row < page.rowCount && page.blockIndexAt(row) === blockIndex ? row : undefined;
}

/** True when two references name the same page. */
export function isSamePage(first: PageReference | undefined, second: PageReference | undefined): boolean {
  return first?.ownerId === second?.ownerId && first?.offset === second?.offset;
}
