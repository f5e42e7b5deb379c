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
  /** Whether a page may lead further than its last block: then the next one is asked for by token, not by index. */
  readonly leavesOut: boolean;
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
    leavesOut: false,
    list: (position, options) => api.listSnapshotBlocks({ snapshotId, ...position }, options),
  };
}

/** A listing that can go on. */
interface LeftListing {
  /** Nothing is known from this block on. */
  readonly startIndex: number;
  readonly pageToken: string;
  /** In a row. */
  readonly emptyPages: number;
}

/**
 * Lists blocks page by page, and holds the service to its contract: what it says must be possible, and must not change.
 */
export class PageLister<Block extends { readonly blockIndex: number } = ListedBlock> {
  readonly #source: PageSource<Block>;
  #volumeSizeGib: number | undefined;
  /** Where the last listing was left. */
  #left: LeftListing | undefined;

  constructor(source: PageSource<Block>) {
    this.#source = source;
  }

  /** Known from the first listing on. */
  get volumeSizeGib(): number | undefined {
    return this.#volumeSizeGib;
  }

  /** Whether the last listing was left among empty pages: how far they came, nothing says. */
  get isAmongEmptyPages(): boolean {
    return this.#left !== undefined && this.#left.emptyPages > 0;
  }

  /**
   * Lists from `startIndex` until there is at least one block, or none is left: usually one call. After a failure among
   * empty pages the same listing goes on where it broke off.
   *
   * @throws {EbsError} as the list operation; `contract-violation` when the answer is impossible.
   */
  async list(startIndex: number, resultsMax: number, options: CallOptions): Promise<ListedRange<Block>> {
    for (;;) {
      const range = await this.listPart(startIndex, resultsMax, this.#source.emptyPagesMax, options);
      if (range !== undefined) return range;
    }
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
    const left = this.#left?.startIndex === startIndex ? this.#left : undefined;
    this.#left = undefined;
    let pageToken = left?.pageToken;
    let emptyPages = left?.emptyPages ?? 0;
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
          if (pageToken !== undefined && !tokenIsOld) this.#left = { startIndex, pageToken, emptyPages };
          throw error;
        }
        restartCount += 1;
        pageToken = undefined;
        continue;
      }
      const range = this.#rangeOf(startIndex, page);
      const { nextToken } = page;
      if (nextToken === undefined) return range;
      if (page.blocks.length > 0) {
        if (this.#source.leavesOut)
          this.#left = { startIndex: range.endIndex, pageToken: nextToken, emptyPages: 0 };
        return range;
      }
      // [ebs: ListSnapshotBlocks] A page can be empty with a NextToken.
      pageToken = nextToken;
      emptyPages += 1;
      if (emptyPages === this.#source.emptyPagesMax)
        throw this.#violation(`${emptyPages} empty pages came in a row`);
    }
    if (pageToken !== undefined) this.#left = { startIndex, pageToken, emptyPages };
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
