import { BLOCKS_PER_GIB } from '../ebs/constants.js';
import { answerError } from '../ebs/error-map.js';
import { EbsErrorKind, EbsOperation, isEbsError } from '../ebs/errors.js';
import type { BlockPage, CallOptions, ListedBlock, PagePosition, SnapshotApi } from '../ebs/snapshot-api.js';

/** A page of either of the two list operations. */
export interface ListedPage<Block> extends Omit<BlockPage, 'blocks'> {
  readonly blocks: readonly Block[];
}

/** What is listed, and for whom. */
export interface PageSource<Block> {
  readonly operation: EbsOperation;
  readonly snapshotId: string;
  /** Empty pages that may come in a row. */
  readonly emptyPagesMax: number;
  /** Makes one list call. */
  list(position: PagePosition, options: CallOptions): Promise<ListedPage<Block>>;
}

/** What a listing found, beginning where it was asked to. */
export interface ListedRange<Block = ListedBlock> {
  readonly startIndex: number;
  /** One past the last block that the listing says something about; at least `startIndex`, greater if it is not 0. */
  readonly endIndex: number;
  /** Ascending, all within the range. */
  readonly blocks: readonly Block[];
  /** Milliseconds since 1970. */
  readonly expiryMs: number;
}

// A page may be empty with a NextToken. Nothing says how many in a row; without a bound a broken service would keep
// this going for ever.
const EMPTY_PAGES_MAX = 1000;
const PAGE_TOKEN_RESTARTS_MAX = 3;

/** The blocks of one snapshot. [ebs: ListSnapshotBlocks] */
export function snapshotBlocksOf(api: SnapshotApi, snapshotId: string): PageSource<ListedBlock> {
  return {
    operation: EbsOperation.ListSnapshotBlocks,
    snapshotId,
    emptyPagesMax: EMPTY_PAGES_MAX,
    list: (position, options) => api.listSnapshotBlocks({ snapshotId, ...position }, options),
  };
}

/**
 * Lists blocks page by page, and holds the service to its contract: what it says must be possible, and must not change.
 */
export class PageLister<Block extends { readonly blockIndex: number } = ListedBlock> {
  readonly #source: PageSource<Block>;
  #volumeSizeGib: number | undefined;
  /** Where a listing was left after pages that were empty. */
  #paused: { readonly startIndex: number; readonly pageToken: string } | undefined;

  constructor(source: PageSource<Block>) {
    this.#source = source;
  }

  /** Known from the first listing on. */
  get volumeSizeGib(): number | undefined {
    return this.#volumeSizeGib;
  }

  /**
   * Lists from `startIndex` until there is at least one block, or none is left: usually one call. After a failure among
   * empty pages the same listing goes on where it broke off.
   *
   * @throws {EbsError} as the list operation; `contract-violation` when the answer is impossible.
   */
  async list(startIndex: number, resultsMax: number, options: CallOptions): Promise<ListedRange<Block>> {
    const { emptyPagesMax } = this.#source;
    const range = await this.listPart(startIndex, resultsMax, emptyPagesMax, options);
    if (range === undefined) throw this.#violation(`${emptyPagesMax} empty pages came in a row`);
    return range;
  }

  /**
   * As {@link list}, but of at most so many pages.
   *
   * @returns undefined when they were all empty: the same listing, asked for again, goes on after them.
   */
  async listPart(
    startIndex: number,
    resultsMax: number,
    pagesMax: number,
    options: CallOptions,
  ): Promise<ListedRange<Block> | undefined> {
    let pageToken = this.#paused?.startIndex === startIndex ? this.#paused.pageToken : undefined;
    this.#paused = undefined;
    let restartCount = 0;
    for (let pageCount = 0; pageCount < pagesMax; pageCount += 1) {
      const start = pageToken === undefined ? { startingBlockIndex: startIndex } : { pageToken };
      let page: ListedPage<Block>;
      try {
        page = await this.#source.list({ resultsMax, ...start }, options);
      } catch (error) {
        // [ebs: ListSnapshotBlocks] A page token lives for 60 minutes: begin again where it led from.
        const tokenIsOld = pageToken !== undefined && isEbsError(error, EbsErrorKind.InvalidPageToken);
        if (!tokenIsOld || restartCount === PAGE_TOKEN_RESTARTS_MAX) {
          if (pageToken !== undefined && !tokenIsOld) this.#paused = { startIndex, pageToken };
          throw error;
        }
        restartCount += 1;
        pageToken = undefined;
        continue;
      }
      const range = this.#rangeOf(startIndex, page);
      // [ebs: ListSnapshotBlocks] A page can be empty with a NextToken.
      if (page.blocks.length > 0 || page.nextToken === undefined) return range;
      pageToken = page.nextToken;
    }
    if (pageToken !== undefined) this.#paused = { startIndex, pageToken };
    return undefined;
  }

  #rangeOf(startIndex: number, page: ListedPage<Block>): ListedRange<Block> {
    const { blocks, expiryMs, volumeSizeGib } = page;
    this.#volumeSizeGib ??= volumeSizeGib;
    if (volumeSizeGib !== this.#volumeSizeGib) {
      throw this.#violation(`the volume had ${this.#volumeSizeGib} GiB, and now has ${volumeSizeGib} GiB`);
    }
    const blockCount = volumeSizeGib * BLOCKS_PER_GIB;
    let previousIndex = startIndex - 1;
    for (const { blockIndex } of blocks) {
      // [ebs: ListSnapshotBlocks] Indexes ascend, also across pages.
      if (blockIndex <= previousIndex) {
        throw this.#violation(`block ${blockIndex} was listed where one after ${previousIndex} was due`);
      }
      previousIndex = blockIndex;
    }
    if (previousIndex >= blockCount) {
      throw this.#violation(`block ${previousIndex} was listed in a volume of ${blockCount} blocks`);
    }
    // The last page proves everything up to the end of the volume, the others up to their last block.
    const endIndex = page.nextToken === undefined ? blockCount : previousIndex + 1;
    return { startIndex, endIndex, blocks, expiryMs };
  }

  #violation(reason: string): Error {
    const { operation, snapshotId } = this.#source;
    const subject = { operation, snapshotId };
    return answerError(EbsErrorKind.ContractViolation, subject, reason);
  }
}
