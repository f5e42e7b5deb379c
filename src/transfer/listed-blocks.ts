import { BLOCKS_PER_GIB, LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../ebs/constants.js';
import { EbsErrorKind, isEbsError } from '../ebs/errors.js';
import type { ListedBlock, ReceivedBlock, SnapshotApi } from '../ebs/snapshot-api.js';
import { PageLister, snapshotBlocksOf, type ListedRange } from '../snapshot/page-lister.js';
import type { Limiter } from '../util/limiter.js';

/** New tokens for one block, before it is given up: one may have expired while the block waited. */
const NEW_TOKENS_MAX = 3;

/**
 * The blocks of a whole snapshot in the order of the disk, a page ahead of whoever takes them, and their contents. Holds two
 * pages of tokens at most.
 */
export class ListedBlocks {
  readonly snapshotId: string;
  readonly #api: SnapshotApi;
  readonly #limiter: Limiter;
  readonly #lister: PageLister;
  #first: ListedRange | undefined;

  /** @param api retrying. @param limiter all gets go through it. */
  constructor(
    snapshotId: string,
    { api, limiter }: { readonly api: SnapshotApi; readonly limiter: Limiter },
  ) {
    this.snapshotId = snapshotId;
    this.#api = api;
    this.#limiter = limiter;
    this.#lister = new PageLister(snapshotBlocksOf(api, snapshotId));
  }

  /**
   * Lists the first page.
   *
   * @returns the size of the volume in GiB.
   * @throws {EbsError} when there is no such snapshot, or it cannot be read.
   */
  async open(signal: AbortSignal): Promise<number> {
    this.#first ??= await this.#lister.list(0, LIST_RESULTS_MAX, { signal });
    return this.#lister.volumeSizeGib ?? 0;
  }

  /** All listed blocks, ascending. */
  async *blocks(signal: AbortSignal): AsyncGenerator<ListedBlock, void> {
    const endOfVolume = (await this.open(signal)) * BLOCKS_PER_GIB;
    let range = this.#first;
    this.#first = undefined;
    while (range !== undefined) {
      const { endIndex } = range;
      const next: Promise<ListedRange> | undefined =
        endIndex < endOfVolume ? this.#lister.list(endIndex, LIST_RESULTS_MAX, { signal }) : undefined;
      // Met below, when its turn comes.
      next?.catch(() => undefined);
      yield* range.blocks;
      range = await next;
    }
  }

  /**
   * Reads a block.
   *
   * @returns verified, with its checksum.
   * @throws {EbsError} when it cannot be had.
   */
  async read({ blockIndex, blockToken }: ListedBlock, signal: AbortSignal): Promise<ReceivedBlock> {
    const { snapshotId } = this;
    let token = blockToken;
    for (let newTokens = 0; ; newTokens += 1) {
      const request = { snapshotId, blockIndex, blockToken: token };
      try {
        return await this.#limiter.runIn(
          snapshotId,
          () => this.#api.getSnapshotBlock(request, { signal }),
          undefined,
          signal,
        );
      } catch (error) {
        // [ebs: GetSnapshotBlock / INVALID_BLOCK_TOKEN] Tokens expire: list again.
        if (!isEbsError(error, EbsErrorKind.InvalidBlockToken) || newTokens === NEW_TOKENS_MAX) throw error;
        const { blocks } = await this.#lister.list(blockIndex, LIST_RESULTS_MIN, { signal });
        const [found] = blocks;
        if (found?.blockIndex !== blockIndex) throw error;
        token = found.blockToken;
      }
    }
  }
}
