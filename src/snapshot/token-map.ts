import { BLOCKS_PER_GIB, LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../ebs/constants.js';
import { answerError } from '../ebs/error-map.js';
import { EbsErrorKind, EbsOperation } from '../ebs/errors.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { assert } from '../util/assert.js';
import type { Clock } from '../util/clock.js';
import type { Limiter } from '../util/limiter.js';
import { chooseListing, firstResultsMax, type Listing } from './listing-policy.js';
import { PageIndex } from './page-index.js';
import { PageLister, snapshotBlocksOf } from './page-lister.js';
import type { TokenMemory } from './token-memory.js';
import { BlockState, TokenPage, type BlockRun } from './token-page.js';

/** Tokens are renewed so long before they expire, or when a tenth of their life is left if that is less. */
const EXPIRY_MARGIN_MS = 300_000;
const EXPIRY_MARGIN_PART = 0.1;

/** What a block takes until some have been listed: its token of some 95 characters and two numbers. */
const ASSUMED_BYTES_PER_BLOCK = 103;

export interface TokenMapOptions {
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  /** Bounds the list calls that run at once. */
  readonly limiter: Limiter;
  readonly clock: Clock;
  /** What the pages share with those of other snapshots. */
  readonly memory: TokenMemory;
  /** Snapshots that share the memory, as far as is known when they are opened. Default: 1. */
  readonly sharerCount?: number | undefined;
  /** Aborts all calls. */
  readonly signal: AbortSignal;
}

/** What goes with a question that may need a call. */
export interface LookupOptions {
  /** When the answer was first wanted; see {@link CallOptions}. Default: now. */
  readonly askedMs?: number;
  /** For how long the call may be retried; see {@link CallOptions}. */
  readonly retryTotalMs?: number;
  /** The caller goes on to the blocks that follow: list as much as can be. Default: false. */
  readonly bulk?: boolean;
}

/**
 * Which blocks of a snapshot are listed, and their tokens: fetched by ListSnapshotBlocks in the places where they are
 * first needed, kept in bounded memory, and fetched again when they are about to expire. That a block is not listed
 * is never a guess.
 */
export class TokenMap {
  readonly #options: TokenMapOptions;
  readonly #lister: PageLister;
  readonly #pages: PageIndex<TokenPage>;
  /** Listings under way, by where they begin. */
  readonly #flights = new Map<number, Promise<TokenPage>>();
  /** Pages whose tokens the service has refused. */
  readonly #refused = new WeakSet<TokenPage>();
  #blockCount = 0;
  #closed = false;
  #listCount = 0;
  #bytesPerBlock = ASSUMED_BYTES_PER_BLOCK;
  #onListed: (page: TokenPage) => void = () => undefined;

  private constructor(options: TokenMapOptions) {
    this.#options = options;
    this.#lister = new PageLister(snapshotBlocksOf(options.api, options.snapshotId));
    this.#pages = new PageIndex(options.memory);
  }

  /**
   * Makes the map of a snapshot by one list call, which also gives the size of the volume.
   *
   * @throws {EbsError} when the snapshot cannot be listed.
   */
  static async open(options: TokenMapOptions, lookup: LookupOptions = {}): Promise<TokenMap> {
    const map = new TokenMap(options);
    const { memory, sharerCount = 1 } = options;
    const resultsMax = firstResultsMax(ASSUMED_BYTES_PER_BLOCK, memory.bytesMax, sharerCount);
    try {
      await map.#list({ startIndex: 0, resultsMax }, lookup);
    } catch (error) {
      map.close();
      throw error;
    }
    return map;
  }

  get volumeSizeGib(): number {
    return this.#blockCount / BLOCKS_PER_GIB;
  }

  /** Blocks of the volume, whether listed or not. */
  get blockCount(): number {
    return this.#blockCount;
  }

  /** @param onListed given what is known, then each page that is listed from now on; must be quick. */
  set onListed(onListed: (page: TokenPage) => void) {
    this.#onListed = onListed;
    for (const page of this.#pages.all()) onListed(page);
  }

  /** List calls that were answered. */
  get listCount(): number {
    return this.#listCount;
  }

  /** What the pages take in memory. */
  get sizeBytes(): number {
    return this.#pages.sizeBytes;
  }

  /** What is known of a block at present. */
  stateOf(blockIndex: number): BlockState {
    return this.#pages.find(blockIndex)?.stateOf(blockIndex) ?? BlockState.Unknown;
  }

  /** How far what is known of a block holds for those after it; undefined when nothing is known of it. */
  runAt(blockIndex: number): BlockRun | undefined {
    return this.#pages.find(blockIndex)?.runAt(blockIndex);
  }

  /**
   * Finds the token of a block, listing when it must.
   *
   * @returns undefined when the block is proven not to be listed.
   * @throws {EbsError} when it has to be listed and cannot be.
   */
  async tokenOf(blockIndex: number, options: LookupOptions = {}): Promise<string | undefined> {
    const known = this.#pages.find(blockIndex);
    if (known !== undefined) {
      const token = known.tokenOf(blockIndex);
      if (token === undefined || this.#isFresh(known)) return token;
      const renewed = await this.#renew(known, blockIndex, options);
      const renewedToken = renewed.tokenOf(blockIndex);
      if (renewedToken === undefined) throw this.#contradiction(blockIndex);
      return renewedToken;
    }
    return (await this.#cover(blockIndex, options)).tokenOf(blockIndex);
  }

  /** Makes sure that something is known of a block, listing when it must. @throws {EbsError} when that fails. */
  async learn(blockIndex: number, options: LookupOptions = {}): Promise<BlockRun> {
    const page = this.#pages.find(blockIndex) ?? (await this.#cover(blockIndex, options));
    return page.runAt(blockIndex);
  }

  /** The service did not take a token: the page that it came from is listed again before it is next used. */
  refuse(blockIndex: number, token: string): void {
    const page = this.#pages.find(blockIndex);
    // Another reader may have had the page renewed by now.
    if (page?.tokenOf(blockIndex) === token) this.#refused.add(page);
  }

  /** Drops everything. What is under way is not kept any more. */
  close(): void {
    this.#closed = true;
    this.#pages.close();
  }

  #isFresh(page: TokenPage): boolean {
    return this.#options.clock.dateMs() < page.staleMs && !this.#refused.has(page);
  }

  // Lists until some page covers the block. Each listing gets further, so this ends.
  async #cover(blockIndex: number, options: LookupOptions): Promise<TokenPage> {
    assert(blockIndex >= 0 && blockIndex < this.#blockCount, 'a block beyond the end of the volume');
    for (;;) {
      const { before, after } = this.#pages.neighbours(blockIndex);
      const listing = chooseListing({
        blockIndex,
        blockCount: this.#blockCount,
        bytesPerBlock: this.#bytesPerBlock,
        bytesMax: this.#options.memory.bytesMax,
        before,
        after,
        bulk: options.bulk === true,
      });
      const page = await this.#list(listing, options);
      // The page itself, for it may have been dropped from the index again.
      if (page.covers(blockIndex)) return page;
      const known = this.#pages.find(blockIndex);
      if (known !== undefined) return known;
    }
  }

  // Lists a page again whose tokens are used up. It may come shorter than before, so that the block is in a later one.
  async #renew(page: TokenPage, blockIndex: number, options: LookupOptions): Promise<TokenPage> {
    let startIndex = page.startIndex;
    for (;;) {
      const resultsMax = Math.min(LIST_RESULTS_MAX, Math.max(LIST_RESULTS_MIN, page.listedCount));
      const renewed = await this.#list({ startIndex, resultsMax }, options);
      if (renewed.covers(blockIndex)) return renewed;
      startIndex = renewed.endIndex;
    }
  }

  // [single flight] Lookups that need the same listing share it.
  #list(listing: Listing, options: LookupOptions): Promise<TokenPage> {
    const underWay = this.#flights.get(listing.startIndex);
    if (underWay !== undefined) return underWay;
    const flight = this.#fetchPage(listing, options).finally(() => this.#flights.delete(listing.startIndex));
    this.#flights.set(listing.startIndex, flight);
    return flight;
  }

  async #fetchPage({ startIndex, resultsMax }: Listing, options: LookupOptions): Promise<TokenPage> {
    const { limiter, clock, signal, snapshotId } = this.#options;
    const { askedMs, retryTotalMs } = options;
    const callOptions = {
      signal,
      ...(askedMs === undefined ? {} : { askedMs }),
      ...(retryTotalMs === undefined ? {} : { retryTotalMs }),
    };
    const range = await limiter.run(() => this.#lister.list(startIndex, resultsMax, callOptions));
    this.#listCount += 1;
    const page = TokenPage.of(
      startIndex,
      range.endIndex,
      staleMsOf(range.expiryMs, clock.dateMs()),
      range.blocks,
    );
    if (page === undefined) {
      const subject = { operation: EbsOperation.ListSnapshotBlocks, snapshotId };
      throw answerError(EbsErrorKind.MalformedAnswer, subject, 'a block token is not plain ASCII');
    }
    this.#blockCount = (this.#lister.volumeSizeGib ?? 0) * BLOCKS_PER_GIB;
    if (page.listedCount > 0) this.#bytesPerBlock = page.sizeBytes / page.listedCount;
    if (!this.#closed) this.#pages.insert(page);
    this.#onListed(page);
    return page;
  }

  #contradiction(blockIndex: number): Error {
    const subject = { operation: EbsOperation.ListSnapshotBlocks, snapshotId: this.#options.snapshotId };
    const reason = `block ${blockIndex} was listed before, and now is not`;
    return answerError(EbsErrorKind.ContractViolation, subject, reason);
  }
}

// An expiry in the past, for tokens that have just been made, says that a clock is wrong: then only the service's
// refusal counts, for otherwise each read would list again.
function staleMsOf(expiryMs: number, dateMs: number): number {
  const lifeMs = expiryMs - dateMs;
  if (lifeMs <= 0) return Number.POSITIVE_INFINITY;
  return expiryMs - Math.min(EXPIRY_MARGIN_MS, lifeMs * EXPIRY_MARGIN_PART);
}
