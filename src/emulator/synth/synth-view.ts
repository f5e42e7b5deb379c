import { BLOCKS_PER_GIB } from '../../ebs/constants.js';
import type { SynthParameters } from '../store/metadata.js';
import { PAGE_BLOCKS, type PageReference } from '../store/index-format.js';
import type { IndexPage, SnapshotView } from '../store/snapshot-view.js';
import { Purpose, WINDOW_BLOCKS } from './purpose.js';
import { draw32 } from './mix.js';

const PPM = 1_000_000;

/** How many of the blocks before `blockIndex`, a multiple of the window, are listed. */
function listedBefore(blockIndex: number, fillPpm: number): number {
  // At most 2^27 * 10^6, below 2^53; and a quotient this far below 2^53 is never rounded up to a whole number.
  return Math.floor((blockIndex * fillPpm) / PPM);
}

/** The listed blocks of a synthetic snapshot; see docs/EMULATOR.md, "Synthetic snapshots", for the rule. */
export class SynthView implements SnapshotView {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  readonly #parameters: SynthParameters;

  constructor(snapshotId: string, volumeSizeGib: number, parameters: SynthParameters) {
    this.snapshotId = snapshotId;
    this.volumeSizeGib = volumeSizeGib;
    this.#parameters = parameters;
  }

  /** Blocks that are listed on the whole volume. */
  get listedBlockCount(): number {
    return listedBefore(this.volumeSizeGib * BLOCKS_PER_GIB, this.#parameters.fillPpm);
  }

  pageReference(pageIndex: number): PageReference | undefined {
    if (pageIndex < 0 || pageIndex >= this.volumeSizeGib) return undefined;
    const first = pageIndex * PAGE_BLOCKS;
    const { fillPpm } = this.#parameters;
    const rowCount = listedBefore(first + PAGE_BLOCKS, fillPpm) - listedBefore(first, fillPpm);
    return rowCount === 0 ? undefined : { ownerId: this.snapshotId, rowCount, offset: 0 };
  }

  page(pageIndex: number): Promise<IndexPage | undefined> {
    const reference = this.pageReference(pageIndex);
    if (reference === undefined) return Promise.resolve(undefined);
    const indexes = new Uint32Array(reference.rowCount);
    let count = 0;
    for (let window = 0; window < PAGE_BLOCKS / WINDOW_BLOCKS; window++)
      count = this.#fillWindow(pageIndex * PAGE_BLOCKS + window * WINDOW_BLOCKS, indexes, count);
    return Promise.resolve(new SynthPage(this.snapshotId, indexes));
  }

  /** In each window the listed blocks are one run that begins anywhere and wraps around the window's end. */
  #fillWindow(first: number, indexes: Uint32Array, from: number): number {
    const { seed, fillPpm } = this.#parameters;
    const runBlocks = listedBefore(first + WINDOW_BLOCKS, fillPpm) - listedBefore(first, fillPpm);
    const runStart = draw32(seed, Purpose.RunStart, first / WINDOW_BLOCKS) % WINDOW_BLOCKS;
    const wrapped = Math.max(0, runStart + runBlocks - WINDOW_BLOCKS);
    let count = from;
    for (let block = 0; block < wrapped; block++) indexes[count++] = first + block;
    for (let block = 0; block < runBlocks - wrapped; block++) indexes[count++] = first + runStart + block;
    return count;
  }
}

class SynthPage implements IndexPage {
  readonly rowCount: number;
  readonly #ownerId: string;
  readonly #indexes: Uint32Array;

  constructor(ownerId: string, indexes: Uint32Array) {
    this.rowCount = indexes.length;
    this.#ownerId = ownerId;
    this.#indexes = indexes;
  }

  blockIndexAt(row: number): number {
    return this.#indexes[row] ?? 0;
  }

  ownerAt(): string {
    return this.#ownerId;
  }

  slotAt(row: number): number {
    return this.blockIndexAt(row);
  }

  digestAt(): undefined {
    return undefined;
  }
}
