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

  /** Adds the blocks from `startBlock` up to, not including, `endBlock` to the counts of their cells. */
  addRange(counts: Uint32Array, startBlock: number, endBlock: number): void {
    let block = startBlock;
    while (block < endBlock) {
      const cell = this.cellOf(block);
      const end = Math.min(endBlock, (cell + 1) * this.blocksPerCell);
      counts[cell] = (counts[cell] ?? 0) + (end - block);
      block = end;
    }
  }

  /** A count for each cell, all 0. */
  newCounts(): Uint32Array {
    return new Uint32Array(this.cellCount);
  }
}
