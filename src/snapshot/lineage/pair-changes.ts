import { LIST_RESULTS_MAX } from '../../ebs/constants.js';
import type { ChangedBlock, SnapshotApi } from '../../ebs/snapshot-api.js';
import { ChangePage } from '../changed/change-page.js';
import { changedBlocksOf, type SnapshotPair } from '../changed/changed-blocks.js';
import { PageIndex } from '../page-index.js';
import { PageLister } from '../page-lister.js';
import type { TokenMemory } from '../token-memory.js';

/** Listings begin at multiples of this, so that one serves its neighbours: a page covers at least as many blocks. */
const START_BLOCKS = 8192;

/** In which blocks two snapshots differ: listed where it is first asked about, kept in bounded memory. */
export class PairChanges {
  readonly #pages: PageIndex<ChangePage>;
  readonly #lister: PageLister<ChangedBlock>;
  /** Where the listing began that has come to no change so far. */
  #openStart: number | undefined;
  #callCount = 0;
  #isClosed = false;

  /**
   * @param secondSizeGib of the second one's volume.
   * @param memory what the pages share with those of other pairs.
   */
  constructor(api: SnapshotApi, pair: SnapshotPair, secondSizeGib: number, memory: TokenMemory) {
    this.#pages = new PageIndex(memory);
    this.#lister = new PageLister(changedBlocksOf(api, pair, secondSizeGib));
  }

  /** Whether a block of the second volume differs from the first one's; undefined where that is not known. */
  isChanged(blockIndex: number): boolean | undefined {
    const page = this.#pages.find(blockIndex);
    return page === undefined ? undefined : page.runAt(blockIndex).flags !== 0;
  }

  /** Calls of ListChangedBlocks that were begun. */
  get callCount(): number {
    return this.#callCount;
  }

  /**
   * Finds out about a block, by so many list calls at most. When they are not enough, the next ones go on there, also for
   * another block: an empty page does not say how far it came, so that a listing is worth nothing until there is a change.
   *
   * @returns as {@link PairChanges.isChanged}.
   * @throws {EbsError} as ListChangedBlocks; the signal's reason.
   */
  async learn(blockIndex: number, callsMax: number, signal: AbortSignal): Promise<boolean | undefined> {
    for (
      let callsLeft = callsMax;
      callsLeft > 0 && this.isChanged(blockIndex) === undefined;
      callsLeft -= 1
    ) {
      const startIndex = this.#startFor(blockIndex);
      this.#openStart = startIndex;
      this.#callCount += 1;
      const range = await this.#lister.listPart(startIndex, LIST_RESULTS_MAX, 1, { signal });
      if (range === undefined) continue;
      this.#openStart = undefined;
      const page = ChangePage.of(startIndex, range.endIndex, range.blocks);
      // What is put in afterwards would count for ever in the memory that the pairs share.
      if (!this.#isClosed) this.#pages.insert(page);
      // The page itself, for it may have been dropped from the index again.
      if (page.covers(blockIndex)) return page.runAt(blockIndex).flags !== 0;
    }
    return this.isChanged(blockIndex);
  }

  #startFor(blockIndex: number): number {
    const { before } = this.#pages.neighbours(blockIndex);
    const openStart = this.#openStart;
    if (openStart !== undefined && openStart <= blockIndex) return openStart;
    return Math.max(before?.endIndex ?? 0, blockIndex - (blockIndex % START_BLOCKS));
  }

  /** Lets go of everything. */
  close(): void {
    this.#isClosed = true;
    this.#pages.close();
  }
}
