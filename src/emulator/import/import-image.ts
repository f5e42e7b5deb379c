import { ZERO_BLOCK_CHECKSUM, blockChecksum } from '../../ebs/checksum.js';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../../ebs/constants.js';
import { systemClock, type Clock } from '../../util/clock.js';
import { EnvironmentError } from '../../util/errors.js';
import { silentLogger, type Logger } from '../../util/logger.js';
import { PAGE_BLOCKS } from '../store/index-format.js';
import { SnapshotOrigin, SnapshotState, newMetadata, type SnapshotMetadata } from '../store/metadata.js';
import { SnapshotBuilder, asStoringError } from '../store/snapshot-builder.js';
import { newSnapshotId } from '../store/snapshot-id.js';
import { SnapshotReader } from '../store/snapshot-reader.js';
import { findRow, lowerBound, type SnapshotView } from '../store/snapshot-view.js';
import { Image } from './image.js';

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

export interface ImportOptions {
  /** The emulator's folder; made when there is none. A server may be running on it. */
  readonly dir: string;
  /** A raw image or a block device. */
  readonly imagePath: string;
  /** A complete snapshot of the folder: only what differs from it is stored. */
  readonly parent?: string;
  readonly description?: string;
  readonly onProgress?: (progress: ImportProgress) => void;
  /** Ends the import without a trace. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/**
 * Makes a snapshot of an image: padded with zeros to whole GiB, holes and blocks of zeros left out, but for blocks
 * of zeros where the parent has data, which are stored as such. Memory is bounded whatever the image's size.
 *
 * @returns the id of the snapshot, which is complete, durable, and visible to a server on the same folder.
 * @throws {EnvironmentError} when the image or the folder cannot be used; the signal's reason.
 */
export async function importImage(options: ImportOptions): Promise<string> {
  const { clock = systemClock } = options;
  const image = await Image.open(options.imagePath);
  let reader: SnapshotReader | undefined;
  try {
    reader = await SnapshotReader.open(options.dir);
    const parent = await findParent(reader, options.parent);
    const metadata = describe(options, image, parent, clock.dateMs());
    const view = parent === undefined ? undefined : await reader.views.view(parent.snapshotId);
    const builder = await SnapshotBuilder.create(reader.layout, metadata, view);
    try {
      await new Importer(image, reader, view, builder, options).run(metadata.volumeSizeGib);
      await builder.publish(clock.dateMs());
    } catch (error) {
      await builder.abandon();
      throw error;
    }
    return metadata.snapshotId;
  } catch (error) {
    throw reader === undefined ? error : asStoringError(reader.layout, error);
  } finally {
    await reader?.close();
    await image.close();
  }
}

async function findParent(
  reader: SnapshotReader,
  parentId: string | undefined,
): Promise<SnapshotMetadata | undefined> {
  if (parentId === undefined) return undefined;
  const parent = await reader.catalog.find(parentId);
  if (parent === undefined)
    throw new EnvironmentError(`Cannot use ${parentId} as parent: there is no such snapshot in this folder.`);
  if (parent.state !== SnapshotState.Completed)
    throw new EnvironmentError(`Cannot use ${parentId} as parent: it is ${parent.state}, not complete.`);
  return parent;
}

function describe(
  options: ImportOptions,
  image: Image,
  parent: SnapshotMetadata | undefined,
  startTimeMs: number,
): SnapshotMetadata {
  const volumeSizeGib = Math.max(image.volumeSizeGib, parent?.volumeSizeGib ?? 0);
  const snapshotId = newSnapshotId();
  return {
    ...newMetadata(snapshotId, volumeSizeGib, startTimeMs),
    origin: SnapshotOrigin.Import,
    description: options.description ?? null,
    parentSnapshotId: parent?.snapshotId ?? null,
    lineageRootId: parent?.lineageRootId ?? snapshotId,
    kmsKeyArn: parent?.kmsKeyArn ?? null,
  };
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
class Importer {
  readonly #image: Image;
  readonly #reader: SnapshotReader;
  readonly #parent: SnapshotView | undefined;
  readonly #builder: SnapshotBuilder;
  readonly #options: ImportOptions;
  #storedBlockCount = 0;

  constructor(
    image: Image,
    reader: SnapshotReader,
    parent: SnapshotView | undefined,
    builder: SnapshotBuilder,
    options: ImportOptions,
  ) {
    this.#image = image;
    this.#reader = reader;
    this.#parent = parent;
    this.#builder = builder;
    this.#options = options;
  }

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
    this.#report(this.#image.sizeBytes);
  }

  async #storeNext(underWay: Loading[], doneBlock: number): Promise<number> {
    const batch = await underWay[0]?.loaded;
    underWay.shift();
    return batch === undefined ? doneBlock : this.#store(batch, doneBlock);
  }

  async *#batches(): AsyncGenerator<{ readonly firstBlock: number; readonly countBlocks: number }> {
    for await (const run of this.#image.runs(this.#options.logger ?? silentLogger)) {
      for (let firstBlock = run.firstBlock; firstBlock < run.endBlock; firstBlock += BATCH_BLOCKS)
        yield { firstBlock, countBlocks: Math.min(BATCH_BLOCKS, run.endBlock - firstBlock) };
    }
  }

  async #prepare(firstBlock: number, countBlocks: number): Promise<Batch> {
    const bytes = Buffer.allocUnsafeSlow(countBlocks * BLOCK_BYTES);
    await this.#image.readBlocks(firstBlock, bytes);
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
          await this.#builder.addBlock(firstBlock + at, undefined, ZERO_DIGEST);
      } else if (inherited?.equals(digest) !== true) {
        await this.#builder.addBlock(firstBlock + at, block, digest);
        this.#storedBlockCount += 1;
      }
    }
    const endBlock = firstBlock + blocks.length;
    this.#report(Math.min(endBlock * BLOCK_BYTES, this.#image.sizeBytes));
    return endBlock;
  }

  /** Stores zeros wherever the parent has data in [fromBlock, toBlock), which is a hole of the image. */
  async #zeroUntil(fromBlock: number, toBlock: number): Promise<void> {
    if (this.#parent === undefined) return;
    const lastPage = Math.ceil(toBlock / PAGE_BLOCKS);
    for (let pageIndex = Math.floor(fromBlock / PAGE_BLOCKS); pageIndex < lastPage; pageIndex++) {
      this.#options.signal?.throwIfAborted();
      const page = await this.#parent.page(pageIndex);
      if (page === undefined) continue;
      const endRow = lowerBound(page, toBlock);
      for (let row = lowerBound(page, fromBlock); row < endRow; row++) {
        if (page.digestAt(row)?.equals(ZERO_DIGEST) === true) continue;
        await this.#builder.addBlock(page.blockIndexAt(row), undefined, ZERO_DIGEST);
      }
    }
  }

  async #inheritedDigest(blockIndex: number): Promise<Buffer | undefined> {
    const page = await this.#parent?.page(Math.floor(blockIndex / PAGE_BLOCKS));
    const row = page === undefined ? undefined : findRow(page, blockIndex);
    return page === undefined || row === undefined ? undefined : this.#reader.blocks.digest(page, row);
  }

  #report(doneBytes: number): void {
    this.#options.onProgress?.({
      doneBytes,
      totalBytes: this.#image.sizeBytes,
      storedBlockCount: this.#storedBlockCount,
    });
  }
}
