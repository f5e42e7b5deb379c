import { CellGrid } from '../device/cell-grid.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import type { ForkState } from './fork-state.js';
import type { Layer } from './layer.js';
import { PutState } from './put-table.js';
import type { BlockRun } from './sector-map.js';

/** Runs and blocks that are looked at in one go: a millisecond or two, whatever the disk. */
const STEPS_MAX = 1024;

/**
 * What a fork has staged, and put already, by cell of a grid. It is looked at a part at a time, from where it was left the
 * last time, so that a picture of 64 TiB costs no more than one of a gibibyte and comes a little later.
 */
export class ForkMap {
  readonly grid: CellGrid;
  readonly staged: Uint32Array;
  /** Blocks of those that the pending snapshot has. */
  readonly put: Uint32Array;
  #cell = 0;

  constructor(sizeBytes: number) {
    this.grid = new CellGrid(sizeBytes / BLOCK_BYTES);
    this.staged = this.grid.newCounts();
    this.put = this.grid.newCounts();
  }

  /** Looks at the next part. */
  refresh({ active, frozen }: ForkState): void {
    const { grid } = this;
    const cursors = (frozen === undefined ? [active] : [active, frozen]).map(
      (layer) => new LayerCursor(layer, this.#cell * grid.blocksPerCell),
    );
    let stepCount = 0;
    while (this.#cell < grid.cellCount && stepCount < STEPS_MAX) {
      const start = this.#cell * grid.blocksPerCell;
      const end = start + grid.sizeOf(this.#cell);
      let [staged, put] = [0, 0];
      for (const cursor of cursors) {
        const found = cursor.take(start, end);
        staged += found.staged;
        put += found.put;
        stepCount += found.steps;
      }
      this.staged[this.#cell] = Math.min(staged, end - start);
      this.put[this.#cell] = Math.min(put, end - start);
      this.#cell += 1;
    }
    if (this.#cell === grid.cellCount) this.#cell = 0;
  }
}

/** Goes through the blocks of a layer, cell by cell. */
class LayerCursor {
  readonly #layer: Layer;
  readonly #runs: Iterator<BlockRun, void>;
  #run: BlockRun | undefined;

  constructor(layer: Layer, fromBlock: number) {
    this.#layer = layer;
    this.#runs = layer.map.blockRuns(fromBlock);
    this.#next();
  }

  /** What there is from `start` up to, not including, `end`. */
  take(
    start: number,
    end: number,
  ): { readonly staged: number; readonly put: number; readonly steps: number } {
    let [staged, put, steps] = [0, 0, 0];
    while (this.#run !== undefined && this.#run.startBlock < end) {
      const from = Math.max(start, this.#run.startBlock);
      const to = Math.min(end, this.#run.endBlock);
      staged += to - from;
      steps += 1;
      if (this.#layer.puts.putCount > 0) {
        for (let block = from; block < to; block += 1) {
          if (this.#layer.puts.get(block) === PutState.Put) put += 1;
        }
        steps += to - from;
      }
      if (this.#run.endBlock > end) break;
      this.#next();
    }
    return { staged, put, steps };
  }

  #next(): void {
    const next = this.#runs.next();
    this.#run = next.done === true ? undefined : next.value;
  }
}
