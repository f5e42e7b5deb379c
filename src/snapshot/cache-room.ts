import type { BlockBuffers } from '../ebs/block-buffers.js';
import { MIB } from '../util/units.js';

/** Blocks that were pushed out and are not collected yet count from here on: some always are. */
const PUSHED_OUT_FREE_BYTES = 4 * MIB;

/** The blocks that are kept, as far as their room is concerned. */
export interface KeptBlocks {
  readonly calculatedSize: number;
  /** Pushes out the one that was used least recently. */
  pop(): unknown;
}

/**
 * What takes memory beside the blocks that are kept counts against the same bound, up to half of it: what is on its way,
 * and what was pushed out but is still part of a reply, or waits for the garbage collector. What was pushed out and is
 * used by nobody does not count: what is on its way comes into its memory.
 */
export class CacheRoom {
  readonly #blocks: KeptBlocks | undefined;
  readonly #bytesMax: number;
  readonly #buffers: BlockBuffers;
  #comingBytes = 0;
  /** Of all blocks that were kept at some time, and whose memory is still theirs. */
  #livingBytes = 0;
  /** The memory of those. */
  readonly #living = new WeakSet<ArrayBufferLike>();
  readonly #collected = new FinalizationRegistry<number>((bytes) => (this.#livingBytes -= bytes));

  constructor(blocks: KeptBlocks | undefined, bytesMax: number, buffers: BlockBuffers) {
    this.#blocks = blocks;
    this.#bytesMax = bytesMax;
    this.#buffers = buffers;
  }

  /** What may be kept at present. */
  get bytesMax(): number {
    const keptBytes = this.#blocks?.calculatedSize ?? 0;
    const pushedOutBytes = Math.max(0, this.#livingBytes - keptBytes - PUSHED_OUT_FREE_BYTES);
    return this.#bytesMax - Math.min(this.#comingBytes + pushedOutBytes, Math.floor(this.#bytesMax / 2));
  }

  /** Counts a block that is kept until its memory is given back, or nobody uses it. */
  track(block: Buffer): void {
    const { buffer } = block;
    if (!this.#living.has(buffer)) {
      this.#living.add(buffer);
      this.#livingBytes += block.length;
      // The slices that replies are made of live as long as this, not as the block.
      this.#collected.register(buffer, block.length, buffer);
    }
    this.#buffers.keep(block, () => {
      if (!this.#living.delete(buffer)) return;
      this.#livingBytes -= block.length;
      this.#collected.unregister(buffer);
    });
  }

  changeBy(bytes: number): void {
    this.#comingBytes += bytes;
    this.trim();
  }

  trim(): void {
    const blocks = this.#blocks;
    while (blocks !== undefined && blocks.calculatedSize > this.bytesMax) blocks.pop();
  }
}
