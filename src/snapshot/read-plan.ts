import type { ReadChunk, ReadResult } from '../device/block-device.js';
import { blockBuffers } from '../ebs/block-buffers.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { assert } from '../util/assert.js';
import type { Lease } from '../util/lease.js';
import { ZERO_BLOCK, type CachedBlock } from './block-cache.js';
import type { PendingBlock } from './block-fetcher.js';

/** Blocks of a read that are being fetched. */
export interface PendingRead {
  /** Resolves when all of them are there; rejects with the first failure, or when it was cancelled. */
  readonly done: Promise<void>;
  /** Waits for none of them any longer. Of no effect on those that have come. */
  cancel(): void;
}

/** The blocks that one read needs: those at hand and those that are missing, put together when all have come. */
export class ReadPlan {
  readonly #offset: number;
  readonly #lengthBytes: number;
  readonly #firstIndex: number;
  readonly #lease: Lease | undefined;
  readonly #blocks: (CachedBlock | undefined)[] = [];
  #missingCount = 0;

  /**
   * @param atHand gives a block that need not be waited for.
   * @param lease of whoever gets the bytes. Default: they do not say when they have done with them.
   */
  constructor(
    offset: number,
    lengthBytes: number,
    atHand: (blockIndex: number) => CachedBlock | undefined,
    lease: Lease | undefined,
  ) {
    this.#lease = lease;
    this.#offset = offset;
    this.#lengthBytes = lengthBytes;
    this.#firstIndex = Math.floor(offset / BLOCK_BYTES);
    const endIndex = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
    for (let blockIndex = this.#firstIndex; blockIndex < endIndex; blockIndex += 1) {
      const block = atHand(blockIndex);
      if (block === undefined) this.#missingCount += 1;
      else if (block !== ZERO_BLOCK) blockBuffers.lend(block, lease);
      this.#blocks.push(block);
    }
  }

  get missingCount(): number {
    return this.#missingCount;
  }

  /** Fetches all that is missing, at the same time. */
  fetchMissing(fetch: (blockIndex: number) => PendingBlock): PendingRead {
    const pending: PendingBlock[] = [];
    let abandon = (): void => undefined;
    const done = new Promise<void>((resolve, reject) => {
      abandon = () => reject(new Error('the read was given up'));
      for (const [position, block] of this.#blocks.entries()) {
        if (block !== undefined) continue;
        const fetched = fetch(this.#firstIndex + position);
        pending.push(fetched);
        fetched.block.then((arrived) => {
          if (arrived !== ZERO_BLOCK) blockBuffers.lend(arrived, this.#lease);
          this.#blocks[position] = arrived;
          this.#missingCount -= 1;
          if (this.#missingCount === 0) resolve();
        }, reject);
      }
    });
    return {
      done,
      cancel: () => {
        for (const fetched of pending) fetched.cancel();
        // An error with its stack, for each read that has come to its end, would be a hundredth of the work of a cold read.
        if (this.#missingCount > 0) abandon();
      },
    };
  }

  /** What the read gives: slices of the blocks, and neighbouring zeros as one run. */
  result(): ReadResult {
    const chunks: ReadChunk[] = [];
    let startInBlock = this.#offset - this.#firstIndex * BLOCK_BYTES;
    let leftBytes = this.#lengthBytes;
    let zeroBytes = 0;
    for (const block of this.#blocks) {
      assert(block !== undefined, 'all blocks of the read have come');
      const partBytes = Math.min(leftBytes, BLOCK_BYTES - startInBlock);
      if (block === ZERO_BLOCK) {
        zeroBytes += partBytes;
      } else {
        if (zeroBytes > 0) chunks.push({ zeroBytes });
        zeroBytes = 0;
        chunks.push(
          partBytes === BLOCK_BYTES ? block : block.subarray(startInBlock, startInBlock + partBytes),
        );
      }
      leftBytes -= partBytes;
      startInBlock = 0;
    }
    if (zeroBytes > 0) chunks.push({ zeroBytes });
    return chunks;
  }
}
