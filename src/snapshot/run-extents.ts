import type { Extent, ExtentOptions, ExtentSource } from '../device/block-device.js';
import { ExtentListBuilder } from '../device/extent-list.js';
import { BLOCK_BYTES } from '../ebs/constants.js';

/** A stretch of blocks that are the same in one context. */
export interface FlaggedRun {
  /** What a client is told of them. */
  readonly flags: number;
  /** One past its last block. */
  readonly endIndex: number;
}

/** What a map of blocks knows, and can find out. */
export interface RunSource {
  /** The run that begins with a block, as far as it is known; undefined when nothing is known of the block. */
  runAt(blockIndex: number): FlaggedRun | undefined;
  /** The same, after finding it out. @throws {EbsError} when that fails; the signal's reason when it aborts first. */
  learn(blockIndex: number, signal: AbortSignal | undefined): Promise<FlaggedRun>;
}

/** What a question may cost. */
export interface QuestionBound {
  /** Lookups that one question may make beyond what is known; the answer then covers less than was asked about. */
  readonly lookupsMax: number;
}

/**
 * A context of a snapshot over a map of its blocks. Asked of what is known, with a list call or two where nothing is: a
 * question about 64 TiB gets a short answer quickly.
 */
export class RunExtents implements ExtentSource {
  readonly #source: RunSource;
  readonly #lookupsMax: number;

  constructor(source: RunSource, { lookupsMax }: QuestionBound) {
    this.#source = source;
    this.#lookupsMax = lookupsMax;
  }

  // [nbd: NBD_CMD_BLOCK_STATUS] Answered at once where the range is known.
  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    const answer = new RunList(offset, lengthBytes, options.extentsMax);
    this.#describe(answer);
    return answer.isComplete ? answer.build() : this.#describeWithLookups(answer, options.signal);
  }

  async #describeWithLookups(answer: RunList, signal: AbortSignal | undefined): Promise<readonly Extent[]> {
    for (let lookupCount = 0; lookupCount < this.#lookupsMax && !answer.isComplete; lookupCount += 1) {
      try {
        answer.add(await this.#source.learn(answer.nextBlockIndex, signal));
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
      const run = this.#source.runAt(answer.nextBlockIndex);
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
  add(run: FlaggedRun): void {
    const endOffset = Math.min(this.#endOffset, run.endIndex * BLOCK_BYTES);
    this.#full = !this.#extents.add(endOffset - this.#position, run.flags);
    if (!this.#full) this.#position = endOffset;
  }

  build(): readonly Extent[] {
    return this.#extents.build();
  }
}
