import type { Extent, ExtentOptions, ExtentSource } from '../device/block-device.js';
import { ExtentListBuilder, HOLE_FLAGS } from '../device/extent-list.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { BlockState, type BlockRun } from './token-page.js';
import type { TokenMap } from './token-map.js';

/** A question may cost so many list calls beyond what is known; the answer then covers less than was asked about. */
const LIST_CALLS_PER_QUESTION_MAX = 2;

/**
 * The context `base:allocation` of a snapshot: blocks that are not listed are holes that read as zeros. Asked of what
 * has been listed, with a list call or two where nothing has: a question about 64 TiB gets a short answer quickly.
 */
export class AllocationMap implements ExtentSource {
  readonly #tokens: TokenMap;

  constructor(tokens: TokenMap) {
    this.#tokens = tokens;
  }

  // [nbd: NBD_CMD_BLOCK_STATUS] Answered at once where the beginning of the range is known.
  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    const answer = new RunList(offset, lengthBytes, options.extentsMax);
    this.#describe(answer);
    return answer.isComplete ? answer.build() : this.#describeWithCalls(answer, options.signal);
  }

  async #describeWithCalls(answer: RunList, signal: AbortSignal | undefined): Promise<readonly Extent[]> {
    for (let callCount = 0; callCount < LIST_CALLS_PER_QUESTION_MAX && !answer.isComplete; callCount += 1) {
      try {
        answer.add(await this.#tokens.learn(answer.nextBlockIndex, { bulk: true }));
      } catch (error) {
        // What is known is a good answer; the question about the rest will come, and fail by itself.
        if (answer.build().length > 0) break;
        throw error;
      }
      signal?.throwIfAborted();
      this.#describe(answer);
    }
    return answer.build();
  }

  #describe(answer: RunList): void {
    while (!answer.isComplete) {
      const run = this.#tokens.runAt(answer.nextBlockIndex);
      if (run === undefined) return;
      answer.add(run);
    }
  }
}

/** Gathers the answer to one question. */
class RunList {
  readonly #extents: ExtentListBuilder;
  readonly #endOffset: number;
  #position: number;
  #full = false;

  constructor(offset: number, lengthBytes: number, extentsMax: number) {
    this.#position = offset;
    this.#endOffset = offset + lengthBytes;
    this.#extents = new ExtentListBuilder(extentsMax);
  }

  /** The block that comes next. */
  get nextBlockIndex(): number {
    return Math.floor(this.#position / BLOCK_BYTES);
  }

  /** The whole range is described, or there is no room for more. */
  get isComplete(): boolean {
    return this.#full || this.#position >= this.#endOffset;
  }

  /** Adds a run that begins with the next block. */
  add(run: BlockRun): void {
    const flags = run.state === BlockState.Listed ? 0 : HOLE_FLAGS;
    const endOffset = Math.min(this.#endOffset, run.endIndex * BLOCK_BYTES);
    this.#full = !this.#extents.add(endOffset - this.#position, flags);
    if (!this.#full) this.#position = endOffset;
  }

  build(): readonly Extent[] {
    return this.#extents.build();
  }
}
