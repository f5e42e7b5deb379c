import { BLOCKS_PER_GIB, LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../../ebs/constants.js';
import type { CallOptions, ChangedBlock, SnapshotApi } from '../../ebs/snapshot-api.js';
import { assert } from '../../util/assert.js';
import { Limiter } from '../../util/limiter.js';
import { PageIndex } from '../page-index.js';
import { PageLister } from '../page-lister.js';
import type { FlaggedRun, RunSource } from '../run-extents.js';
import { processTokenMemory, type TokenMemory } from '../token-memory.js';
import { ChangeFlag, ChangePage } from './change-page.js';
import { changedBlocksOf, type SnapshotPair } from './changed-blocks.js';

export interface ChangeMapOptions extends SnapshotPair {
  /** Retrying. */
  readonly api: SnapshotApi;
  /** Of the second snapshot's volume. */
  readonly secondSizeGib: number;
  /** Aborts all calls. */
  readonly signal: AbortSignal;
  /** Bounds the list calls that run at once. Default: one of 8 for all maps of the process that are given none. */
  readonly limiter?: Limiter;
  /** What the pages share with those of other listings. Default: one of 32 MiB for all that are given none. */
  readonly memory?: TokenMemory;
}

/** At 50/s and 100 ms a call, the account's quota has room for five. */
const LISTS_IN_FLIGHT_MAX = 8;
const processLimiter = new Limiter(LISTS_IN_FLIGHT_MAX);

/** After so many empty pages it is looked whether anybody still waits. */
const PAGES_AT_ONCE = 16;

/**
 * In which blocks one snapshot differs from another: listed in the places where it is first asked about, kept as runs in
 * bounded memory. That a block has not changed is never a guess.
 */
export class ChangeMap implements RunSource {
  readonly pair: SnapshotPair;
  readonly #options: ChangeMapOptions;
  readonly #lister: PageLister<ChangedBlock>;
  readonly #pages: PageIndex<ChangePage>;
  /** Listings under way, by where they begin. */
  readonly #flights = new Map<number, Promise<ChangePage | undefined>>();
  readonly #limiter: Limiter;
  readonly #blockCount: number;
  #firstBlockCount = 0;
  #listCount = 0;
  #closed = false;

  private constructor(options: ChangeMapOptions) {
    const { api, firstSnapshotId, secondSnapshotId, secondSizeGib } = options;
    this.pair = { firstSnapshotId, secondSnapshotId };
    this.#options = options;
    this.#lister = new PageLister(changedBlocksOf(api, this.pair, secondSizeGib));
    this.#pages = new PageIndex(options.memory ?? processTokenMemory);
    this.#limiter = options.limiter ?? processLimiter;
    this.#blockCount = secondSizeGib * BLOCKS_PER_GIB;
  }

  /**
   * Makes the map of two snapshots by two list calls, after which it is known that they can be compared.
   *
   * @throws {EbsError} when they cannot be, as two that are not related.
   */
  static async open(options: ChangeMapOptions, callOptions: CallOptions = {}): Promise<ChangeMap> {
    const map = new ChangeMap(options);
    try {
      await map.#begin({ ...callOptions, signal: options.signal });
    } catch (error) {
      map.close();
      throw error;
    }
    return map;
  }

  /** Calls of ListChangedBlocks that were begun. */
  get listCount(): number {
    return this.#listCount;
  }

  /** What the pages take in memory. */
  get sizeBytes(): number {
    return this.#pages.sizeBytes;
  }

  /** Flags of {@link ChangeFlag}; undefined where nothing is known of the block. */
  runAt(blockIndex: number): FlaggedRun | undefined {
    const run = this.#pages.find(blockIndex)?.runAt(blockIndex);
    return run === undefined ? undefined : this.#grown(blockIndex, run);
  }

  /**
   * The same, listing where it must: until there is a change, or the end. Where the snapshots have many blocks and few
   * changes that takes many calls; they go on where they were when a caller leaves, or one fails.
   *
   * @throws {EbsError} when it has to be listed and cannot be; the signal's reason.
   */
  async learn(blockIndex: number, signal?: AbortSignal): Promise<FlaggedRun> {
    assert(blockIndex >= 0 && blockIndex < this.#blockCount, 'a block beyond the end of the volume');
    for (;;) {
      signal?.throwIfAborted();
      const page = this.#pages.find(blockIndex) ?? (await this.#list(blockIndex));
      // The page itself, for it may have been dropped from the index again.
      if (page?.covers(blockIndex) === true) return this.#grown(blockIndex, page.runAt(blockIndex));
    }
  }

  /** Drops everything. What is under way is not kept any more. */
  close(): void {
    this.#closed = true;
    this.#pages.close();
  }

  async #begin(callOptions: CallOptions): Promise<void> {
    const { api, firstSnapshotId } = this.#options;
    const comparing = this.#limiter.run(() => this.#fetchPage(0, 1, callOptions));
    const measuring = this.#limiter.run(() =>
      api.listSnapshotBlocks({ snapshotId: firstSnapshotId, resultsMax: LIST_RESULTS_MIN }, callOptions),
    );
    // Both are waited for, so that nothing is under way when this fails.
    const [compared, measured] = await Promise.allSettled([comparing, measuring]);
    if (measured.status === 'rejected') throw measured.reason;
    if (compared.status === 'rejected') throw compared.reason;
    this.#firstBlockCount = measured.value.volumeSizeGib * BLOCKS_PER_GIB;
  }

  // [single flight] A lookup close behind where a listing begins waits for that one, which most likely has its block.
  #list(blockIndex: number): Promise<ChangePage | undefined> {
    for (const [startIndex, flight] of this.#flights) {
      if (startIndex <= blockIndex && blockIndex < startIndex + LIST_RESULTS_MAX) return flight;
    }
    const { signal } = this.#options;
    const flight = this.#limiter
      .run(() => this.#fetchPage(blockIndex, PAGES_AT_ONCE, { signal }))
      .finally(() => this.#flights.delete(blockIndex));
    this.#flights.set(blockIndex, flight);
    return flight;
  }

  async #fetchPage(
    startIndex: number,
    pagesMax: number,
    callOptions: CallOptions,
  ): Promise<ChangePage | undefined> {
    const range = await this.#lister.listPart(startIndex, LIST_RESULTS_MAX, pagesMax, callOptions);
    this.#listCount += 1;
    if (range === undefined) return undefined;
    const page = ChangePage.of(startIndex, range.endIndex, range.blocks);
    if (!this.#closed) this.#pages.insert(page);
    return page;
  }

  // What lies beyond the end of the first volume was not there: clients that have it have nothing to keep.
  #grown(blockIndex: number, run: FlaggedRun): FlaggedRun {
    const firstBlockCount = this.#firstBlockCount;
    if (blockIndex >= firstBlockCount) {
      const listed = run.flags === 0 ? ChangeFlag.Changed | ChangeFlag.Removed : run.flags;
      return { flags: listed | ChangeFlag.Added, endIndex: run.endIndex };
    }
    return run.flags === 0 && run.endIndex > firstBlockCount ? { flags: 0, endIndex: firstBlockCount } : run;
  }
}
