import type { CommitWishes, PendingSnapshot } from './fork-facts.js';
import { PutTable } from './put-table.js';
import { SECTOR_BYTES, SECTORS_PER_BLOCK, type SectorState } from './sector-state.js';
import { SectorMap } from './sector-map.js';

/** What was written between two snapshots: which sectors, and how far they are on their way into the later one. */
export class Layer {
  readonly id: number;
  readonly map: SectorMap;
  readonly puts = new PutTable();
  pending: PendingSnapshot | undefined;
  /** Set when it takes no more changes, and is to become this snapshot. */
  wishes: CommitWishes | undefined;

  constructor(id: number, diskBytes: number) {
    this.id = id;
    this.map = new SectorMap(diskBytes / SECTOR_BYTES);
  }

  /** Records bytes of the data file. */
  write(start: number, count: number): void {
    this.map.write(start, count);
    this.#touch(start, count);
  }

  /** Records zeros. */
  clear(start: number, count: number): void {
    this.map.clear(start, count);
    this.#touch(start, count);
  }

  /** Records that sectors are what they were before. */
  restore(start: number, count: number, state: SectorState): void {
    this.map.restore(start, count, state);
    this.#touch(start, count);
  }

  /** Takes another pending snapshot, or news of the one there is. */
  setPending(pending: PendingSnapshot): void {
    if (this.pending?.clientToken !== pending.clientToken) this.puts.reset();
    this.pending = pending;
  }

  /** True when it has nothing that is not beneath it as well. */
  get isEmpty(): boolean {
    return this.map.blockRuns().next().done === true && this.puts.blocks().next().done === true;
  }

  #touch(start: number, count: number): void {
    this.puts.touch(Math.floor(start / SECTORS_PER_BLOCK), Math.ceil((start + count) / SECTORS_PER_BLOCK));
  }
}
