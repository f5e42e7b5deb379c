import { assert } from '../util/assert.js';

/** More cells than a picture of a disk can show are of no use, and each costs in every answer. */
export const CELLS_MAX = 2048;

/** A disk of any size divided into at most {@link CELLS_MAX} cells of equally many blocks; the last one may have fewer. */
export class CellGrid {
  readonly blockCount: number;
  readonly blocksPerCell: number;
  readonly cellCount: number;

  /** @param blockCount at least 1. */
  constructor(blockCount: number) {
    assert(blockCount > 0, `a disk of ${blockCount} blocks`);
    this.blockCount = blockCount;
    this.blocksPerCell = Math.ceil(blockCount / CELLS_MAX);
    this.cellCount = Math.ceil(blockCount / this.blocksPerCell);
  }

  cellOf(blockIndex: number): number {
    return Math.floor(blockIndex / this.blocksPerCell);
  }

  /** Blocks of a cell. */
  sizeOf(cell: number): number {
    return Math.min(this.blocksPerCell, this.blockCount - cell * this.blocksPerCell);
  }

  /** A count for each cell, all 0. */
  newCounts(): Uint32Array {
    return new Uint32Array(this.cellCount);
  }
}

/** With so many counts other than 0, an array of all takes less memory. */
const FEW_CELLS_MAX = 64;

/** A count for each cell of a grid, in memory by what is counted: servers have thousands of disks that nobody reads. */
export class CellCounts {
  readonly #grid: CellGrid;
  #few: Map<number, number> | undefined;
  #all: Uint32Array | undefined;

  constructor(grid: CellGrid) {
    this.#grid = grid;
  }

  at(cell: number): number {
    return this.#all?.[cell] ?? this.#few?.get(cell) ?? 0;
  }

  /** @param by may be negative; the count stays at least 0. */
  add(cell: number, by: number): void {
    const count = this.at(cell) + by;
    if (this.#all !== undefined) {
      this.#all[cell] = count;
      return;
    }
    this.#few ??= new Map();
    this.#few.set(cell, count);
    if (this.#few.size <= FEW_CELLS_MAX) return;
    this.#all = this.#grid.newCounts();
    for (const [known, value] of this.#few) this.#all[known] = value;
    this.#few = undefined;
  }

  /** Adds the blocks from `startBlock` up to, not including, `endBlock`. */
  addRange(startBlock: number, endBlock: number): void {
    let block = startBlock;
    while (block < endBlock) {
      const cell = this.#grid.cellOf(block);
      const end = Math.min(endBlock, (cell + 1) * this.#grid.blocksPerCell);
      this.add(cell, end - block);
      block = end;
    }
  }
}
