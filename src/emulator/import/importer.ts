import { ZERO_BLOCK_CHECKSUM, blockChecksum } from '../../ebs/checksum.js';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../../ebs/constants.js';
import type { Logger } from '../../util/logger.js';
import type { BlockReader } from '../store/block-reader.js';
import { PAGE_BLOCKS } from '../store/index-format.js';
import type { SnapshotBuilder } from '../store/snapshot-builder.js';
import { findRow, lowerBound, type SnapshotView } from '../store/snapshot-view.js';
import type { Image } from './image.js';

/** Blocks that are read, and hashed in parallel, at once: 8 MiB. */
const BATCH_BLOCKS = 16;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const ZERO_DIGEST = Buffer.from(ZERO_BLOCK_CHECKSUM, 'base64');

/** How far an import has come. */
export interface ImportProgress {
  /** Bytes of the image that were read or found to be holes. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Blocks of contents that were stored. */
  readonly storedBlockCount: number;
}

export interface ImporterOptions {
  readonly image: Image;
  /** Where the contents of synthetic parents come from. */
  readonly blocks: BlockReader;
  readonly parent: SnapshotView | undefined;
  readonly builder: SnapshotBuilder;
  readonly logger: Logger;
  readonly onProgress: ((progress: ImportProgress) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

interface Batch {
  readonly firstBlock: number;
  readonly blocks: readonly Buffer[];
  /** The SHA-256 of each block, or undefined for zeros. */
  readonly digests: readonly (Buffer | undefined)[];
}

interface Loading {
  readonly loaded: Promise<Batch>;
}

/** One pass over an image. */
export class Importer {
  readonly #options: ImporterOptions;
  #storedBlockCount = 0;

  constructor(options: ImporterOptions) {
    this.#options = options;
  }

  /** Reads the image and adds what must be stored to the builder. */
  async run(volumeSizeGib: number): Promise<void> {
    let doneBlock = 0;
    // One batch is read and hashed while the one before it is written.
    const underWay: Loading[] = [];
    try {
      for await (const { firstBlock, countBlocks } of this.#batches()) {
        this.#options.signal?.throwIfAborted();
        const next = this.#prepare(firstBlock, countBlocks);
        // Its failure is met when its turn comes; until then it must not count as unhandled.
        next.catch(() => undefined);
        underWay.push({ loaded: next });
        if (underWay.length > 1) doneBlock = await this.#storeNext(underWay, doneBlock);
      }
      while (underWay.length > 0) doneBlock = await this.#storeNext(underWay, doneBlock);
    } finally {
      // Whatever went wrong, nobody may read from the image once it is closed.
      await Promise.allSettled(underWay.map(({ loaded }) => loaded));
    }
    await this.#zeroUntil(doneBlock, volumeSizeGib * BLOCKS_PER_GIB);
    this.#report(this.#options.image.sizeBytes);
  }

  async #storeNext(underWay: Loading[], doneBlock: number): Promise<number> {
    const batch = await underWay[0]?.loaded;
    underWay.shift();
    return batch === undefined ? doneBlock : this.#store(batch, doneBlock);
  }

  async *#batches(): AsyncGenerator<{ readonly firstBlock: number; readonly countBlocks: number }> {
    for await (const run of this.#options.image.runs(this.#options.logger)) {
      for (let firstBlock = run.firstBlock; firstBlock < run.endBlock; firstBlock += BATCH_BLOCKS)
        yield { firstBlock, countBlocks: Math.min(BATCH_BLOCKS, run.endBlock - firstBlock) };
    }
  }

  async #prepare(firstBlock: number, countBlocks: number): Promise<Batch> {
    const bytes = Buffer.allocUnsafeSlow(countBlocks * BLOCK_BYTES);
    await this.#options.image.readBlocks(firstBlock, bytes);
    const blocks = Array.from({ length: countBlocks }, (_, at) =>
      bytes.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES),
    );
    const digests = await Promise.all(
      blocks.map(async (block) =>
        block.equals(ZERO_BLOCK) ? undefined : Buffer.from(await blockChecksum(block), 'base64'),
      ),
    );
    return { firstBlock, blocks, digests };
  }

  /** Stores what of a batch differs from the parent, after the hole before it. Returns where it ends. */
  async #store({ firstBlock, blocks, digests }: Batch, doneBlock: number): Promise<number> {
    await this.#zeroUntil(doneBlock, firstBlock);
    for (const [at, block] of blocks.entries()) {
      const digest = digests[at];
      const inherited = await this.#inheritedDigest(firstBlock + at);
      if (digest === undefined) {
        if (inherited?.equals(ZERO_DIGEST) === false)
          await this.#options.builder.addBlock(firstBlock + at, undefined, ZERO_DIGEST);
      } else if (inherited?.equals(digest) !== true) {
        await this.#options.builder.addBlock(firstBlock + at, block, digest);
        this.#storedBlockCount += 1;
      }
    }
    const endBlock = firstBlock + blocks.length;
    this.#report(Math.min(endBlock * BLOCK_BYTES, this.#options.image.sizeBytes));
    return endBlock;
  }

  /** Stores zeros wherever the parent has data in [fromBlock, toBlock), which is a hole of the image. */
  async #zeroUntil(fromBlock: number, toBlock: number): Promise<void> {
    const { parent } = this.#options;
    if (parent === undefined) return;
    const lastPage = Math.ceil(toBlock / PAGE_BLOCKS);
    for (let pageIndex = Math.floor(fromBlock / PAGE_BLOCKS); pageIndex < lastPage; pageIndex++) {
      this.#options.signal?.throwIfAborted();
      const page = await parent.page(pageIndex);
      if (page === undefined) continue;
      const endRow = lowerBound(page, toBlock);
      for (let row = lowerBound(page, fromBlock); row < endRow; row++) {
        if (page.digestAt(row)?.equals(ZERO_DIGEST) === true) continue;
        await this.#options.builder.addBlock(page.blockIndexAt(row), undefined, ZERO_DIGEST);
      }
    }
  }

  async #inheritedDigest(blockIndex: number): Promise<Buffer | undefined> {
    const page = await this.#options.parent?.page(Math.floor(blockIndex / PAGE_BLOCKS));
    const row = page === undefined ? undefined : findRow(page, blockIndex);
    return page === undefined || row === undefined ? undefined : this.#options.blocks.digest(page, row);
  }

  #report(doneBytes: number): void {
    this.#options.onProgress?.({
      doneBytes,
      totalBytes: this.#options.image.sizeBytes,
      storedBlockCount: this.#storedBlockCount,
    });
  }
}
