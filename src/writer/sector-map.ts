import { assert, AssertionError } from '../util/assert.js';
import { BlockTable } from './block-table.js';
import { BlockDetails } from './block-details.js';
import {
  isZeroState,
  PAGES_PER_BLOCK,
  SECTORS_PER_BLOCK,
  SECTORS_PER_PAGE,
  SectorState,
} from './sector-state.js';

/** Neighbouring sectors that are the same to a reader. */
export interface SectorRun {
  /** Cleared counts as Zero here. */
  readonly state: SectorState;
  /** Where the run ends: the first sector that is not of it. */
  readonly end: number;
}

/** Neighbouring blocks that have the same state all over, or one that is mixed. */
export interface BlockRun {
  readonly startBlock: number;
  readonly endBlock: number;
  /** Undefined: one block, mixed. Never Through. */
  readonly state: SectorState | undefined;
}

/** Detail of one mixed block, as it goes to the journal. */
export interface BlockDetail {
  readonly fine: boolean;
  readonly words: Uint32Array;
}

// What is called for each write builds the text of an assertion only where it fails: such texts took up to 7 % of the
// processor time of small writes.

/**
 * What a layer has, by sector, for a disk of any size. A block (512 KiB) that is the same all over costs a byte or
 * less; a mixed one 32 bytes, or 256 where it is mixed within a page of 4 KiB.
 */
export class SectorMap {
  readonly sectorCount: number;
  readonly #table: BlockTable;
  readonly #details = new BlockDetails();
  #allocatedPageCount = 0;

  /** @param sectorCount of the disk, whole blocks. */
  constructor(sectorCount: number) {
    assert(sectorCount % SECTORS_PER_BLOCK === 0, `a map of ${sectorCount} sectors`);
    this.sectorCount = sectorCount;
    this.#table = new BlockTable(sectorCount / SECTORS_PER_BLOCK);
  }

  /** Pages of 4 KiB of the data file that have bytes, wanted or not. */
  get allocatedPageCount(): number {
    return this.#allocatedPageCount;
  }

  /** Memory that it takes, about, in bytes. */
  get memoryBytes(): number {
    return this.#table.memoryBytes + this.#details.memoryBytes;
  }

  /** Records bytes in the data file. */
  write(start: number, count: number): void {
    this.#change(start, count, 0, SectorState.Data);
  }

  /** Records zeros. */
  clear(start: number, count: number): void {
    this.#change(start, count, SectorState.Data, SectorState.Zero);
  }

  /** True when all of the range is Data already. */
  isAllData(start: number, count: number): boolean {
    const run = this.runAt(start, start + count);
    return run.state === SectorState.Data && run.end === start + count;
  }

  /** Pages of the range for which the data file has no bytes yet: what writing it would cost. */
  unallocatedPageCount(start: number, count: number): number {
    let pageCount = 0;
    for (
      let page = Math.floor(start / SECTORS_PER_PAGE);
      page * SECTORS_PER_PAGE < start + count;
      page += 1
    ) {
      if (!this.#isAllocated(page)) pageCount += 1;
    }
    return pageCount;
  }

  /** What is at `sector`, and how far it goes, at most to `limit`. */
  runAt(sector: number, limit: number): SectorRun {
    if (sector >= limit || limit > this.sectorCount)
      throw new AssertionError(`sectors ${sector} to ${limit}`);
    let block = Math.floor(sector / SECTORS_PER_BLOCK);
    const blockStart = block * SECTORS_PER_BLOCK;
    let entry = this.#table.get(block);
    let state: number;
    let end: number;
    if (this.#table.isMixed(entry)) {
      const blockLimit = Math.min(SECTORS_PER_BLOCK, limit - blockStart);
      const run = this.#details.runAt(this.#table.slotOf(block), entry, sector - blockStart, blockLimit);
      ({ state } = run);
      end = blockStart + run.end;
      if (run.end < SECTORS_PER_BLOCK || end >= limit) return { state: mergedState(state), end };
      block += 1;
    } else {
      state = entry;
      end = sector;
    }
    const merged = mergedState(state);
    while (end < limit) {
      entry = this.#table.get(block);
      if (this.#table.isMixed(entry)) {
        const slot = this.#table.slotOf(block);
        const blockLimit = Math.min(SECTORS_PER_BLOCK, limit - block * SECTORS_PER_BLOCK);
        const run = this.#details.runAt(slot, entry, 0, blockLimit);
        // A mixed block is not the same all over, so the run ends in it, or before it.
        return {
          state: merged,
          end: mergedState(run.state) === merged ? block * SECTORS_PER_BLOCK + run.end : end,
        };
      }
      if (mergedState(entry) !== merged) return { state: merged, end };
      const limitBlock = Math.ceil(limit / SECTORS_PER_BLOCK);
      block = this.#table.endOfSame(block, limitBlock, (other) => mergedState(other) === merged);
      end = Math.min(limit, block * SECTORS_PER_BLOCK);
    }
    return { state: merged, end };
  }

  /** As {@link runAt}, but with zeros over bytes and zeros over nothing apart, and at most to the end of a mixed block. */
  rawRunAt(sector: number, limit: number): SectorRun {
    if (sector >= limit || limit > this.sectorCount)
      throw new AssertionError(`sectors ${sector} to ${limit}`);
    const block = Math.floor(sector / SECTORS_PER_BLOCK);
    const entry = this.#table.get(block);
    if (!this.#table.isMixed(entry)) {
      const limitBlock = Math.ceil(limit / SECTORS_PER_BLOCK);
      const endBlock = this.#table.endOfSame(block, limitBlock, (other) => other === entry);
      return { state: entry as SectorState, end: Math.min(limit, endBlock * SECTORS_PER_BLOCK) };
    }
    const blockStart = block * SECTORS_PER_BLOCK;
    const blockLimit = Math.min(SECTORS_PER_BLOCK, limit - blockStart);
    const slot = this.#table.slotOf(block);
    const run = this.#details.rawRunAt(slot, entry, sector - blockStart, blockLimit);
    return { state: run.state as SectorState, end: blockStart + run.end };
  }

  /** Sets sectors to what they were before. */
  restore(start: number, count: number, state: SectorState): void {
    this.#change(start, count, 0, state);
  }

  /** The blocks that the layer has anything for, ascending from `fromBlock`. */
  *blockRuns(fromBlock = 0): Generator<BlockRun, void> {
    const blockCount = this.sectorCount / SECTORS_PER_BLOCK;
    let block = fromBlock;
    while (block < blockCount) {
      const entry = this.#table.get(block);
      const isMixed = this.#table.isMixed(entry);
      const endBlock = isMixed
        ? block + 1
        : this.#table.endOfSame(block, blockCount, (other) => other === entry);
      if (isMixed) yield { startBlock: block, endBlock, state: undefined };
      else if (entry !== SectorState.Through)
        yield { startBlock: block, endBlock, state: entry as SectorState };
      block = endBlock;
    }
  }

  /** The detail of a mixed block. */
  detailOf(block: number): BlockDetail {
    const entry = this.#table.get(block);
    assert(this.#table.isMixed(entry), `block ${block} is not mixed`);
    return this.#details.export(this.#table.slotOf(block), entry);
  }

  /** Sets blocks that are the same all over: for the journal, on an empty map. */
  restoreRun(startBlock: number, endBlock: number, state: SectorState): void {
    this.#table.setRange(startBlock, endBlock, state);
    if ((state & 1) === 1) this.#allocatedPageCount += (endBlock - startBlock) * PAGES_PER_BLOCK;
  }

  /** Sets a mixed block: for the journal, on an empty map. */
  restoreDetail(block: number, detail: BlockDetail): void {
    const { slot, entry } = this.#details.import(detail);
    this.#table.setMixed(block, entry, slot);
    this.#allocatedPageCount += this.#details.allocatedPages(slot, entry);
  }

  #isAllocated(page: number): boolean {
    const block = Math.floor(page / PAGES_PER_BLOCK);
    const entry = this.#table.get(block);
    if (!this.#table.isMixed(entry)) return (entry & 1) === 1;
    return this.#details.isAllocated(this.#table.slotOf(block), entry, page % PAGES_PER_BLOCK);
  }

  #change(start: number, count: number, keep: number, set: number): void {
    const end = start + count;
    if (count <= 0 || end > this.sectorCount) throw new AssertionError(`sectors ${start} to ${end}`);
    let at = start;
    while (at < end) {
      const block = Math.floor(at / SECTORS_PER_BLOCK);
      const from = at - block * SECTORS_PER_BLOCK;
      if (from > 0 || end - at < SECTORS_PER_BLOCK) {
        const to = Math.min(SECTORS_PER_BLOCK, end - block * SECTORS_PER_BLOCK);
        this.#changePart(block, from, to, keep, set);
        at = block * SECTORS_PER_BLOCK + to;
      } else {
        const endBlock = Math.floor(end / SECTORS_PER_BLOCK);
        this.#changeWhole(block, endBlock, keep, set);
        at = endBlock * SECTORS_PER_BLOCK;
      }
    }
  }

  #changeWhole(startBlock: number, endBlock: number, keep: number, set: number): void {
    let block = startBlock;
    while (block < endBlock) {
      const entry = this.#table.get(block);
      if (this.#table.isMixed(entry)) {
        this.#changePart(block, 0, SECTORS_PER_BLOCK, keep, set);
        block += 1;
        continue;
      }
      const runEnd = this.#table.endOfSame(block, endBlock, (other) => other === entry);
      const changed = (entry & keep) | set;
      this.#table.setRange(block, runEnd, changed);
      this.#allocatedPageCount += (runEnd - block) * PAGES_PER_BLOCK * ((changed & 1) - (entry & 1));
      block = runEnd;
    }
  }

  #changePart(block: number, from: number, to: number, keep: number, set: number): void {
    const entry = this.#table.get(block);
    const isMixed = this.#table.isMixed(entry);
    if (!isMixed && ((entry & keep) | set) === entry) return;
    const before = isMixed
      ? this.#details.allocatedPages(this.#table.slotOf(block), entry)
      : (entry & 1) * PAGES_PER_BLOCK;
    const changed = isMixed
      ? this.#details.change(this.#table.slotOf(block), entry, from, to, keep, set)
      : this.#details.split(entry, from, to, keep, set);
    if (changed.slot === undefined) {
      this.#table.setRange(block, block + 1, changed.entry);
      this.#allocatedPageCount += (changed.entry & 1) * PAGES_PER_BLOCK - before;
    } else {
      this.#table.setMixed(block, changed.entry, changed.slot);
      this.#allocatedPageCount += this.#details.allocatedPages(changed.slot, changed.entry) - before;
    }
  }
}

function mergedState(state: number): SectorState {
  return isZeroState(state) ? SectorState.Zero : (state as SectorState);
}
