import type { ChangedBlock } from '../../ebs/snapshot-api.js';
import type { IndexedPage } from '../page-index.js';
import type { FlaggedRun } from '../run-extents.js';

/** What may be said of a block of the newer of two snapshots, as it goes on the wire. */
export const ChangeFlag = {
  /** It may differ from the older one's. */
  Changed: 1,
  /** The newer snapshot does not have it: it reads as zeros. Only with Changed. */
  Removed: 2,
  /** The older snapshot does not have it: it was zeros, or beyond the end. Only with Changed. */
  Added: 4,
} as const;

/** What a page costs beside its runs: its objects, buffers and place in the index. */
const PAGE_OVERHEAD_BYTES = 640;

/**
 * What one listing proved about the blocks from `startIndex` up to, without, `endIndex`: the runs in it have changed, all
 * others have not. A run costs nine bytes, however long it is.
 */
export class ChangePage implements IndexedPage<ChangePage> {
  readonly startIndex: number;
  readonly endIndex: number;
  usedTick = 0;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  readonly #flags: Uint8Array;

  private constructor(
    startIndex: number,
    endIndex: number,
    [starts, ends, flags]: readonly [starts: Uint32Array, ends: Uint32Array, flags: Uint8Array],
  ) {
    this.startIndex = startIndex;
    this.endIndex = endIndex;
    this.#starts = starts;
    this.#ends = ends;
    this.#flags = flags;
  }

  /** @param blocks ascending, all from `startIndex` up to `endIndex`. */
  static of(startIndex: number, endIndex: number, blocks: readonly ChangedBlock[]): ChangePage {
    const starts: number[] = [];
    const ends: number[] = [];
    const allFlags: number[] = [];
    for (const block of blocks) {
      const { blockIndex } = block;
      const flags = flagsOf(block);
      const last = ends.length - 1;
      if (ends[last] === blockIndex && allFlags[last] === flags) {
        ends[last] = blockIndex + 1;
      } else {
        starts.push(blockIndex);
        ends.push(blockIndex + 1);
        allFlags.push(flags);
      }
    }
    return new ChangePage(startIndex, endIndex, [
      Uint32Array.from(starts),
      Uint32Array.from(ends),
      Uint8Array.from(allFlags),
    ]);
  }

  within(startIndex: number, endIndex: number): ChangePage {
    const page = new ChangePage(startIndex, endIndex, [this.#starts, this.#ends, this.#flags]);
    page.usedTick = this.usedTick;
    return page;
  }

  get sizeBytes(): number {
    return PAGE_OVERHEAD_BYTES + 9 * this.#flags.length;
  }

  covers(blockIndex: number): boolean {
    return this.startIndex <= blockIndex && blockIndex < this.endIndex;
  }

  /** The stretch of equal flags that begins at a block that the page covers, as far as the page goes. */
  runAt(blockIndex: number): FlaggedRun {
    const position = this.#positionOf(blockIndex);
    const start = this.#starts[position] ?? this.endIndex;
    if (start > blockIndex) return { flags: 0, endIndex: Math.min(start, this.endIndex) };
    const endIndex = Math.min(this.#ends[position] ?? this.endIndex, this.endIndex);
    return { flags: this.#flags[position] ?? ChangeFlag.Changed, endIndex };
  }

  // Of the first run that ends after the block.
  #positionOf(blockIndex: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) <= blockIndex) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// [ebs: ListChangedBlocks] Only a side that has the block has a token for it.
function flagsOf({ firstBlockToken, secondBlockToken }: ChangedBlock): number {
  return (
    ChangeFlag.Changed |
    (secondBlockToken === undefined ? ChangeFlag.Removed : 0) |
    (firstBlockToken === undefined ? ChangeFlag.Added : 0)
  );
}
