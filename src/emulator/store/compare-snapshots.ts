import { PAGE_BLOCKS } from './index-format.js';
import { isSamePage, lowerBound, type IndexPage, type SnapshotView } from './snapshot-view.js';

/** A block that is not the same in two snapshots. */
export interface ChangedBlock {
  readonly blockIndex: number;
  readonly inFirst: boolean;
  readonly inSecond: boolean;
}

/** A part of a comparison. */
export interface Comparison {
  readonly changed: readonly ChangedBlock[];
  /** The next candidate, or undefined when there is none. */
  readonly nextBlockIndex: number | undefined;
}

/**
 * Compares two snapshots of one lineage on the second one's volume. A block is the same in both when it is the same
 * put, whichever of them or of their ancestors it was made to; so a block that was put again with the same bytes
 * has changed.
 *
 * @param candidatesMax after so many blocks that either of them lists, the comparison pauses.
 */
export async function compareSnapshots(
  first: SnapshotView,
  second: SnapshotView,
  fromBlockIndex: number,
  candidatesMax: number,
): Promise<Comparison> {
  const changed: ChangedBlock[] = [];
  let candidates = 0;
  for (let page = Math.floor(fromBlockIndex / PAGE_BLOCKS); page < second.volumeSizeGib; page++) {
    const firstReference = first.pageReference(page);
    const secondReference = second.pageReference(page);
    if (firstReference === undefined && secondReference === undefined) continue;
    const isSame = isSamePage(firstReference, secondReference);
    const rowCount = secondReference?.rowCount ?? 0;
    if (isSame && fromBlockIndex <= page * PAGE_BLOCKS && candidates + rowCount <= candidatesMax) {
      candidates += rowCount;
      continue;
    }
    const inSecond = await second.page(page);
    const inFirst = isSame ? inSecond : await first.page(page);
    for (const candidate of mergePages(inFirst, inSecond, fromBlockIndex)) {
      if (candidates === candidatesMax) return { changed, nextBlockIndex: candidate.blockIndex };
      candidates += 1;
      if (!isSame && candidate.isChanged) changed.push(candidate);
    }
  }
  return { changed, nextBlockIndex: undefined };
}

interface Candidate extends ChangedBlock {
  readonly isChanged: boolean;
}

/** Every block that either page lists, ascending. */
function* mergePages(
  first: IndexPage | undefined,
  second: IndexPage | undefined,
  fromBlockIndex: number,
): Generator<Candidate, void> {
  const end = Number.POSITIVE_INFINITY;
  const indexAt = (page: IndexPage | undefined, row: number): number =>
    page !== undefined && row < page.rowCount ? page.blockIndexAt(row) : end;
  let firstRow = first === undefined ? 0 : lowerBound(first, fromBlockIndex);
  let secondRow = second === undefined ? 0 : lowerBound(second, fromBlockIndex);
  for (;;) {
    const blockIndex = Math.min(indexAt(first, firstRow), indexAt(second, secondRow));
    if (blockIndex === end) return;
    const inFirst = indexAt(first, firstRow) === blockIndex;
    const inSecond = indexAt(second, secondRow) === blockIndex;
    const isSame = inFirst && inSecond && isSameRow(first, firstRow, second, secondRow);
    yield { blockIndex, inFirst, inSecond, isChanged: !isSame };
    if (inFirst) firstRow += 1;
    if (inSecond) secondRow += 1;
  }
}

function isSameRow(
  first: IndexPage | undefined,
  firstRow: number,
  second: IndexPage | undefined,
  secondRow: number,
): boolean {
  return (
    first?.ownerAt(firstRow) === second?.ownerAt(secondRow) &&
    first?.slotAt(firstRow) === second?.slotAt(secondRow)
  );
}
