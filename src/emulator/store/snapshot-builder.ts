import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../../ebs/constants.js';
import { assert } from '../../util/assert.js';
import { EnvironmentError, SnapnbdError, systemCodeOf } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';
import { replaceFile, writeFully } from './file-io.js';
import { IndexWriter, type OwnBlock } from './index-writer.js';
import { ZERO_SLOT } from './index-format.js';
import { SnapshotFile, type StoreLayout } from './layout.js';
import { encodeMetadata, SnapshotState, type SnapshotMetadata } from './metadata.js';
import type { SnapshotView } from './snapshot-view.js';
import { makeTemporaryFolder, type TemporaryFolder } from './temporary.js';

/** What went wrong with the folder, worded for users; everything else as it is. */
export function asStoringError(layout: StoreLayout, error: unknown): unknown {
  if (error instanceof SnapnbdError || systemCodeOf(error) === undefined) return error;
  return new EnvironmentError(`Cannot store the snapshot in ${layout.dir}: ${systemReason(error)}.`, {
    cause: error,
  });
}

/** Makes a snapshot that has no blocks of its own yet: its folder, with its metadata in it. */
export async function publishMetadata(layout: StoreLayout, metadata: SnapshotMetadata): Promise<void> {
  const folder = await makeTemporaryFolder(layout);
  try {
    await replaceFile(join(folder.path, SnapshotFile.Metadata), encodeMetadata(metadata));
    await folder.publish(metadata.snapshotId);
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

/**
 * Makes a complete snapshot in one go, block after block in the order of the disk. Nobody sees it before
 * {@link SnapshotBuilder.publish}, and then all of it.
 */
export class SnapshotBuilder {
  readonly #folder: TemporaryFolder;
  readonly #metadata: SnapshotMetadata;
  readonly #blocks: FileHandle;
  readonly #index: IndexWriter;
  #page: OwnBlock[] = [];
  #pageIndex = 0;
  #slotCount = 0;

  private constructor(
    folder: TemporaryFolder,
    metadata: SnapshotMetadata,
    blocks: FileHandle,
    index: IndexWriter,
  ) {
    this.#folder = folder;
    this.#metadata = metadata;
    this.#blocks = blocks;
    this.#index = index;
  }

  /** @param parent the view of the snapshot's parent, when it has one. */
  static async create(
    layout: StoreLayout,
    metadata: SnapshotMetadata,
    parent: SnapshotView | undefined,
  ): Promise<SnapshotBuilder> {
    const { snapshotId, volumeSizeGib } = metadata;
    const folder = await makeTemporaryFolder(layout);
    let blocks: FileHandle | undefined;
    try {
      blocks = await open(join(folder.path, SnapshotFile.Blocks), 'w', 0o600);
      const indexPath = join(folder.path, SnapshotFile.Index);
      const index = await IndexWriter.create(indexPath, snapshotId, volumeSizeGib, parent);
      return new SnapshotBuilder(folder, metadata, blocks, index);
    } catch (error) {
      await blocks?.close();
      await folder.discard();
      throw error;
    }
  }

  /**
   * Adds a block.
   *
   * @param blockIndex greater than that of the block before.
   * @param bytes 524,288 bytes, or undefined for explicit zeros.
   * @param digest SHA-256 of the block.
   */
  async addBlock(blockIndex: number, bytes: Uint8Array | undefined, digest: Uint8Array): Promise<void> {
    const pageIndex = Math.floor(blockIndex / BLOCKS_PER_GIB);
    if (pageIndex !== this.#pageIndex) {
      await this.#flushPage();
      this.#pageIndex = pageIndex;
    }
    let slot = ZERO_SLOT;
    if (bytes !== undefined) {
      assert(bytes.length === BLOCK_BYTES, `addBlock: ${bytes.length} bytes`);
      slot = this.#slotCount;
      this.#slotCount += 1;
      await writeFully(this.#blocks.fd, bytes, slot * BLOCK_BYTES);
    }
    this.#page.push({ blockIndex, slot, digest });
  }

  /** Makes the snapshot durable and visible to every process that uses the folder. */
  async publish(completedAtMs: number): Promise<SnapshotMetadata> {
    await this.#flushPage();
    const counts = await this.#index.finish();
    await this.#blocks.sync();
    await this.#blocks.close();
    const metadata = { ...this.#metadata, ...counts, state: SnapshotState.Completed, completedAtMs };
    await replaceFile(join(this.#folder.path, SnapshotFile.Metadata), encodeMetadata(metadata));
    await this.#folder.publish(metadata.snapshotId);
    return metadata;
  }

  /** Leaves nothing behind. */
  async abandon(): Promise<void> {
    await this.#index.abandon();
    await this.#blocks.close();
    await this.#folder.discard();
  }

  async #flushPage(): Promise<void> {
    if (this.#page.length > 0) await this.#index.addPage(this.#pageIndex, this.#page);
    this.#page = [];
  }
}
