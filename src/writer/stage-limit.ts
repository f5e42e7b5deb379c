import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { formatBytes } from '../util/units.js';
import type { ForkState } from './fork-state.js';
import { PAGE_BYTES } from './sector-state.js';

/** Bounds the pages that the data files of a fork take, those included that writes under way are about to take. */
export class StageLimit {
  readonly #pages: number;
  readonly #place: string;
  #promisedPages = 0;

  /** @param place for people: where the fork is. */
  constructor(limitBytes: number, place: string) {
    this.#pages = Math.floor(limitBytes / PAGE_BYTES);
    this.#place = place;
  }

  /**
   * Returns how many pages a write is about to take, for {@link settle}.
   *
   * @throws {DeviceError} ENOSPC where they would be too many.
   */
  promise({ active, allocatedPageCount }: ForkState, start: number, count: number): number {
    if (this.#pages === Number.POSITIVE_INFINITY) return 0;
    const pageCount = active.map.unallocatedPageCount(start, count);
    if (allocatedPageCount + this.#promisedPages + pageCount > this.#pages) {
      const limit = formatBytes(this.#pages * PAGE_BYTES);
      throw new DeviceError(
        DeviceErrno.ENOSPC,
        `Cannot stage a write: the fork has reached its limit of ${limit} in ${this.#place}. Commit it, or raise --stage-limit.`,
      );
    }
    this.#promisedPages += pageCount;
    return pageCount;
  }

  /** The write has ended: its pages are counted now, or never will be. */
  settle(promisedPages: number): void {
    this.#promisedPages -= promisedPages;
  }
}
