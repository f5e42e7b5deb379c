import { BLOCKS_PER_GIB } from '../ebs/constants.js';
import { answerError } from '../ebs/error-map.js';
import { EbsErrorKind, EbsOperation, isEbsError } from '../ebs/errors.js';
import type { BlockPage, CallOptions, ListedBlock, SnapshotApi } from '../ebs/snapshot-api.js';

/** What a listing found, beginning where it was asked to. */
export interface ListedRange {
  readonly startIndex: number;
  /** One past the last block that the listing says something about; at least `startIndex`, greater if it is not 0. */
  readonly endIndex: number;
  /** Ascending, all within the range. */
  readonly blocks: readonly ListedBlock[];
  /** Milliseconds since 1970. */
  readonly expiryMs: number;
}

// A page may be empty with a NextToken. Nothing says how many in a row; without a bound a broken service would keep
// this going for ever.
const EMPTY_PAGES_MAX = 1000;
const PAGE_TOKEN_RESTARTS_MAX = 3;

/**
 * Lists the blocks of one snapshot, and holds the service to its contract: what it says must be possible, and must
 * not change.
 */
export class PageLister {
  readonly #api: SnapshotApi;
  readonly #snapshotId: string;
  #volumeSizeGib: number | undefined;

  constructor(api: SnapshotApi, snapshotId: string) {
    this.#api = api;
    this.#snapshotId = snapshotId;
  }

  /** Known from the first listing on. */
  get volumeSizeGib(): number | undefined {
    return this.#volumeSizeGib;
  }

  /**
   * Lists from `startIndex` until there is at least one block, or none is left: usually one call.
   *
   * @throws {EbsError} as ListSnapshotBlocks; `contract-violation` when the answer is impossible.
   */
  async list(startIndex: number, resultsMax: number, options: CallOptions): Promise<ListedRange> {
    const position = { snapshotId: this.#snapshotId, resultsMax };
    let pageToken: string | undefined;
    let restartCount = 0;
    for (let pageCount = 0; pageCount < EMPTY_PAGES_MAX; pageCount += 1) {
      const start = pageToken === undefined ? { startingBlockIndex: startIndex } : { pageToken };
      let page: BlockPage;
      try {
        page = await this.#api.listSnapshotBlocks({ ...position, ...start }, options);
      } catch (error) {
        // [ebs: ListSnapshotBlocks] A page token lives for 60 minutes: begin again where it led from.
        const tokenIsOld = pageToken !== undefined && isEbsError(error, EbsErrorKind.InvalidPageToken);
        if (!tokenIsOld || restartCount === PAGE_TOKEN_RESTARTS_MAX) throw error;
        restartCount += 1;
        pageToken = undefined;
        continue;
      }
      const range = this.#rangeOf(startIndex, page);
      // [ebs: ListSnapshotBlocks] A page can be empty with a NextToken.
      if (page.blocks.length > 0 || page.nextToken === undefined) return range;
      pageToken = page.nextToken;
    }
    throw this.#violation(`${EMPTY_PAGES_MAX} empty pages came in a row`);
  }

  #rangeOf(startIndex: number, page: BlockPage): ListedRange {
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
    const subject = { operation: EbsOperation.ListSnapshotBlocks, snapshotId: this.#snapshotId };
    return answerError(EbsErrorKind.ContractViolation, subject, reason);
  }
}
