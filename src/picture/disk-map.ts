import { assert } from '../util/assert.js';

/** What a map tells apart of the blocks of a disk. */
export const MapLayer = {
  /** Written at some time: all else reads as zeros. */
  Data: 'data',
  /** Other than in the snapshot that it is compared with. */
  Changed: 'changed',
  /** Data there, and zeros here. Counted as changed too. */
  Zeroed: 'zeroed',
} as const;
export type MapLayer = (typeof MapLayer)[keyof typeof MapLayer];

/** More cells than anybody can tell apart. */
export const CELLS_MAX = 1 << 20;

/**
 * A disk in a bounded number of cells that are equally large, give or take a block: how many blocks of each cell are in each
 * layer, and how many were looked at to know that. Memory depends on the cells alone.
 */
export class DiskMap {
  readonly blockCount: number;
  readonly cellCount: number;
  readonly #counts: Readonly<Record<MapLayer, Uint32Array>>;
  readonly #looked: Readonly<Record<MapLayer, Uint32Array>>;

  /** @param cellCount wished for, up to {@link CELLS_MAX}; there are no more cells than blocks. */
  constructor(blockCount: number, cellCount: number) {
    assert(blockCount > 0 && cellCount > 0, `a map of ${blockCount} blocks in ${cellCount} cells`);
    this.blockCount = blockCount;
    this.cellCount = Math.min(blockCount, cellCount, CELLS_MAX);
    const fresh = (): Record<MapLayer, Uint32Array> => ({
      data: new Uint32Array(this.cellCount),
      changed: new Uint32Array(this.cellCount),
      zeroed: new Uint32Array(this.cellCount),
    });
    this.#counts = fresh();
    this.#looked = fresh();
  }

  /** The first block of a cell; of the cell past the last one, the end of the disk. */
  firstBlockOf(cell: number): number {
    return Math.ceil((cell * this.blockCount) / this.cellCount);
  }

  /** The cell of a block. */
  cellOf(block: number): number {
    return Math.floor((block * this.cellCount) / this.blockCount);
  }

  /** Blocks from `firstBlock` up to, without, `endBlock` are in the layer. Each block is counted once. */
  add(layer: MapLayer, firstBlock: number, endBlock: number): void {
    this.#count(this.#counts[layer], firstBlock, endBlock);
  }

  /** It is known of these blocks whether they are in the layer. */
  look(layer: MapLayer, firstBlock: number, endBlock: number): void {
    this.#count(this.#looked[layer], firstBlock, endBlock);
  }

  /** The part of the blocks looked at in a cell that is in a layer, from 0 to 1; undefined where none was looked at. */
  shareOf(layer: MapLayer, cell: number): number | undefined {
    const looked = this.#looked[layer][cell] ?? 0;
    return looked === 0 ? undefined : (this.#counts[layer][cell] ?? 0) / looked;
  }

  #count(counts: Uint32Array, firstBlock: number, endBlock: number): void {
    const end = Math.min(endBlock, this.blockCount);
    for (let block = firstBlock; block < end;) {
      const cell = this.cellOf(block);
      const next = Math.min(end, this.firstBlockOf(cell + 1));
      counts[cell] = (counts[cell] ?? 0) + next - block;
      block = next;
    }
  }
}
