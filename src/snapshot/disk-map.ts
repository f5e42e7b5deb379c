import { CellCounts, CellGrid } from '../device/cell-grid.js';
import { RangeSet } from '../device/range-set.js';
import { IndexBits } from '../util/index-bits.js';

/** Listed stretches that are told apart; beyond them what is listed further stays unknown to the map. */
const RANGES_MAX = 16_384;

/**
 * What has become of the blocks of a snapshot, counted by cell of a grid as it happens: so a picture of a disk of any size
 * costs the same, and nobody walks its blocks. What is on disk is as this process last found it.
 */
export class DiskMap {
  readonly grid: CellGrid;
  /** Blocks of which it is known whether they are in the snapshot. */
  readonly known: CellCounts;
  /** Blocks of those that are in it; the others are holes. */
  readonly listed: CellCounts;
  /** Blocks that were had at some time since the start. */
  readonly read: CellCounts;
  readonly inMemory: CellCounts;
  readonly onDisk: CellCounts;
  readonly #knownRanges = new RangeSet();
  readonly #readBits = new IndexBits();
  readonly #diskBits = new IndexBits();

  constructor(blockCount: number) {
    this.grid = new CellGrid(blockCount);
    this.known = new CellCounts(this.grid);
    this.listed = new CellCounts(this.grid);
    this.read = new CellCounts(this.grid);
    this.inMemory = new CellCounts(this.grid);
    this.onDisk = new CellCounts(this.grid);
  }

  /**
   * The blocks from `startIndex` up to, not including, `endIndex` were listed.
   *
   * @param indexes of those that are in the snapshot, ascending.
   */
  noteListing(startIndex: number, endIndex: number, indexes: Iterable<number>): void {
    const fresh = this.#claim(startIndex, endIndex);
    let position = 0;
    for (const index of indexes) {
      let range = fresh[position];
      while (range !== undefined && range.end <= index) {
        position += 1;
        range = fresh[position];
      }
      if (range === undefined) return;
      if (index >= range.start) this.#change(this.listed, index, 1);
    }
  }

  noteRead(blockIndex: number): void {
    if (this.#readBits.add(blockIndex)) this.#change(this.read, blockIndex, 1);
  }

  noteInMemory(blockIndex: number, isThere: boolean): void {
    this.#change(this.inMemory, blockIndex, isThere ? 1 : -1);
  }

  noteOnDisk(blockIndex: number, isThere: boolean): void {
    const isNews = isThere ? this.#diskBits.add(blockIndex) : this.#diskBits.delete(blockIndex);
    if (isNews) this.#change(this.onDisk, blockIndex, isThere ? 1 : -1);
  }

  #change(counts: CellCounts, blockIndex: number, by: number): void {
    counts.add(this.grid.cellOf(blockIndex), by);
  }

  /** The parts of a range that were not known before, which are from now on. */
  #claim(startIndex: number, endIndex: number): { readonly start: number; readonly end: number }[] {
    const fresh: { readonly start: number; readonly end: number }[] = [];
    if (this.#knownRanges.rangeCount >= RANGES_MAX) return fresh;
    let at = startIndex;
    while (at < endIndex) {
      const known = this.#knownRanges.firstFrom(at);
      const end = Math.min(endIndex, known?.start ?? endIndex);
      if (end > at) fresh.push({ start: at, end });
      at = known === undefined ? endIndex : Math.max(end, known.end);
    }
    for (const { start, end } of fresh) this.known.addRange(start, end);
    this.#knownRanges.add(startIndex, endIndex);
    return fresh;
  }
}
