import { createHash } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../util/assert.js';
import { IndexWriter, type IndexCounts, type OwnBlock } from './index-writer.js';
import { ZERO_SLOT } from './index-format.js';
import { replaceFile, syncFolder } from './file-io.js';
import { SnapshotFile, type StoreLayout } from './layout.js';
import { SnapshotState, encodeMetadata, type CompletionRequest, type SnapshotMetadata } from './metadata.js';
import { PendingBlocks } from './pending-blocks.js';
import type { SnapshotView } from './snapshot-view.js';

const MINUTE_MS = 60_000;

/** A snapshot from StartSnapshot until it is complete or has failed. */
export class PendingSnapshot {
  readonly #layout: StoreLayout;
  readonly blocks: PendingBlocks;
  #metadata: SnapshotMetadata;
  /** Set from the first CompleteSnapshot on. */
  #requested: Promise<void> | undefined;

  private constructor(layout: StoreLayout, metadata: SnapshotMetadata, blocks: PendingBlocks) {
    this.#layout = layout;
    this.#metadata = metadata;
    this.blocks = blocks;
  }

  /** Opens a snapshot whose folder is there. */
  static async open(layout: StoreLayout, metadata: SnapshotMetadata): Promise<PendingSnapshot> {
    const blocks = await PendingBlocks.open(layout.snapshotDir(metadata.snapshotId));
    return new PendingSnapshot(layout, metadata, blocks);
  }

  get metadata(): SnapshotMetadata {
    return this.#metadata;
  }

  /** True when it was neither written to nor completed for as long as it may. [ebs: StartSnapshot / Timeout] */
  isOverdue(nowMs: number): boolean {
    const { completion, startTimeMs, timeoutMinutes } = this.#metadata;
    if (completion !== null || this.#requested !== undefined || this.blocks.underWayCount > 0) return false;
    const lastActiveMs = Math.max(startTimeMs, this.blocks.lastPutMs ?? 0);
    return nowMs >= lastActiveMs + timeoutMinutes * MINUTE_MS;
  }

  /** Writes down what the first CompleteSnapshot said; what later ones say is not looked at. */
  async requestCompletion(completion: CompletionRequest): Promise<void> {
    if (this.#metadata.completion !== null) return;
    this.#requested ??= this.#save({ ...this.#metadata, completion });
    try {
      await this.#requested;
    } catch (error) {
      this.#requested = undefined;
      throw error;
    }
  }

  /**
   * Checks what CompleteSnapshot said against what was put, and makes the snapshot complete or failed. What is
   * interrupted can be done again from the start. [ebs: CompleteSnapshot / count and LINEAR checksum]
   *
   * @param parent the view of the parent, when there is one.
   */
  async complete(parent: SnapshotView | undefined, nowMs: number): Promise<void> {
    const { snapshotId, completion } = this.#metadata;
    assert(completion !== null, `${snapshotId} is completed before that was asked for`);
    await this.blocks.sync();
    const temporary = `${this.#layout.indexFile(snapshotId)}.new`;
    const { counts, linearChecksum } = await this.#writeIndex(temporary, parent);
    const mismatch = findMismatch(completion, counts, linearChecksum);
    if (mismatch !== undefined) {
      await rm(temporary, { force: true });
      await this.fail(mismatch);
      return;
    }
    await rename(temporary, this.#layout.indexFile(snapshotId));
    await syncFolder(this.#layout.snapshotDir(snapshotId));
    await this.#save({ ...this.#metadata, ...counts, state: SnapshotState.Completed, completedAtMs: nowMs });
    await this.#remove(SnapshotFile.Records);
  }

  /** Ends in the state `error`; the blocks are no good to anybody and go. */
  async fail(errorReason: string): Promise<void> {
    await this.#save({ ...this.#metadata, state: SnapshotState.Error, errorReason });
    await this.#remove(SnapshotFile.Records);
    await this.#remove(SnapshotFile.Blocks);
  }

  close(): Promise<void> {
    return this.blocks.close();
  }

  async #writeIndex(
    path: string,
    parent: SnapshotView | undefined,
  ): Promise<{ readonly counts: IndexCounts; readonly linearChecksum: string }> {
    const { snapshotId, volumeSizeGib } = this.#metadata;
    const hash = createHash('sha256');
    const writer = await IndexWriter.create(path, snapshotId, volumeSizeGib, parent);
    try {
      for (const pageIndex of this.blocks.pageIndexes()) {
        const own: OwnBlock[] = [];
        for await (const { blockIndex, slot, record } of this.blocks.recordsOf(pageIndex)) {
          own.push({ blockIndex, slot: record.isZero ? ZERO_SLOT : slot, digest: record.digest });
          hash.update(record.digest);
        }
        if (own.length > 0) await writer.addPage(pageIndex, own);
      }
      return { counts: await writer.finish(), linearChecksum: hash.digest('base64') };
    } catch (error) {
      await writer.abandon();
      throw error;
    }
  }

  async #save(metadata: SnapshotMetadata): Promise<void> {
    await replaceFile(this.#layout.metadataFile(metadata.snapshotId), encodeMetadata(metadata));
    this.#metadata = metadata;
  }

  async #remove(file: string): Promise<void> {
    await rm(join(this.#layout.snapshotDir(this.#metadata.snapshotId), file), { force: true });
  }
}

/** What CompleteSnapshot said wrongly, or undefined. */
function findMismatch(
  completion: CompletionRequest,
  counts: IndexCounts,
  linearChecksum: string,
): string | undefined {
  if (completion.changedBlocksCount !== counts.ownBlockCount)
    return `ChangedBlocksCount is ${completion.changedBlocksCount}, but ${counts.ownBlockCount} blocks were put`;
  if (completion.checksum !== null && completion.checksum !== linearChecksum)
    return `Checksum is ${completion.checksum}, but the LINEAR checksum of the blocks is ${linearChecksum}`;
  return undefined;
}
