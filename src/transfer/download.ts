import { blockBuffers } from '../ebs/block-buffers.js';
import { blockChecksum, ZERO_BLOCK_CHECKSUM } from '../ebs/checksum.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import type { ListedBlock } from '../ebs/snapshot-api.js';
import { assert } from '../util/assert.js';
import { handleAtOnce } from './at-once.js';
import type { DigestJournal } from './digest-journal.js';
import type { DataRange, ImageTarget } from './image-target.js';
import { BlockFate, type BlockRecord } from './journal-layout.js';
import type { ListedBlocks } from './listed-blocks.js';
import { TransferStep, type OnProgress, type TransferCounts } from './transfer-progress.js';

/** Blocks beside those that are fetched: they are being written or compared. */
const BESIDE_FETCHES = 16;

/** What brings a snapshot into a file or a device. */
export interface DownloadOptions {
  readonly source: ListedBlocks;
  readonly target: ImageTarget;
  readonly journal: DigestJournal;
  /** Blocks of the volume. */
  readonly blockCount: number;
  /** Nothing is known of what the target holds where the snapshot has no data: a device, or what an earlier run left. */
  readonly isTargetUsed: boolean;
  /** Fetches at once, at most. */
  readonly inFlightMax: number;
  /** How many blocks there are, as soon as that is known. */
  readonly totalCount: () => number | undefined;
  readonly onProgress: OnProgress;
}

/**
 * Fetches all blocks of a snapshot that the target does not hold yet, and makes everything else in it zeros. A block that
 * the journal says was written is read back and compared with its checksum.
 *
 * @returns counts; everything is on the disk.
 * @throws {EbsError}, {EnvironmentError}; the signal's reason.
 */
export async function download(options: DownloadOptions, signal: AbortSignal): Promise<TransferCounts> {
  const { source, target, journal, blockCount, isTargetUsed, inFlightMax, totalCount, onProgress } = options;
  const counts: TransferCounts = { movedCount: 0, keptCount: 0, skippedCount: 0 };
  const report = (step: TransferStep): void =>
    onProgress({
      step,
      snapshotId: source.snapshotId,
      doneCount: counts.movedCount + counts.keptCount,
      totalCount: totalCount(),
      movedCount: counts.movedCount,
    });
  const gaps = isTargetUsed ? new GapZeroer(target) : undefined;
  const bring = async (item: ListedBlock, stop: AbortSignal): Promise<void> => {
    const { blockIndex } = item;
    const record = await journal.prior(blockIndex);
    if (record !== undefined && (await holds(target, record))) {
      counts.keptCount += 1;
      report(TransferStep.Move);
      return;
    }
    const { bytes, checksum } = await source.read(item, stop);
    assert(checksum !== undefined, 'a verified block has a checksum');
    if (checksum === ZERO_BLOCK_CHECKSUM) await target.zero(blockIndex, blockIndex + 1, stop);
    else await target.write(blockIndex, bytes);
    blockBuffers.drop(bytes);
    journal.note({ blockIndex, fate: BlockFate.Moved, checksum });
    counts.movedCount += 1;
    report(TransferStep.Move);
  };
  const blocks = async function* (stop: AbortSignal): AsyncGenerator<ListedBlock, void> {
    let nextBlock = 0;
    for await (const block of source.blocks(stop)) {
      if (block.blockIndex > nextBlock) await gaps?.zero(nextBlock, block.blockIndex, stop);
      nextBlock = block.blockIndex + 1;
      yield block;
    }
    await gaps?.zero(nextBlock, blockCount, stop);
  };
  report(TransferStep.Move);
  try {
    await handleAtOnce(blocks, inFlightMax + BESIDE_FETCHES, signal, bring);
  } finally {
    await gaps?.close();
  }
  report(TransferStep.Finish);
  await target.sync();
  return counts;
}

async function holds(target: ImageTarget, { blockIndex, checksum }: BlockRecord): Promise<boolean> {
  return (await blockChecksum(await target.read(blockIndex))) === checksum;
}

/** Makes ranges zeros, ascending, and passes over what is known to be holes. */
class GapZeroer {
  readonly #target: ImageTarget;
  readonly #ranges: AsyncGenerator<DataRange, void>;
  #range: DataRange | undefined;
  #hasEnded = false;

  constructor(target: ImageTarget) {
    this.#target = target;
    this.#ranges = target.dataRanges();
  }

  async zero(firstBlock: number, endBlock: number, signal: AbortSignal): Promise<void> {
    const end = endBlock * BLOCK_BYTES;
    let at = firstBlock * BLOCK_BYTES;
    while (at < end) {
      const range = await this.#rangeAfter(at);
      if (range === undefined || range.start >= end) return;
      const first = Math.floor(Math.max(at, range.start) / BLOCK_BYTES);
      const last = Math.min(endBlock, Math.ceil(range.end / BLOCK_BYTES));
      await this.#target.zero(first, last, signal);
      at = last * BLOCK_BYTES;
    }
  }

  async close(): Promise<void> {
    await this.#ranges.return();
  }

  /** The first range that ends after `position`. */
  async #rangeAfter(position: number): Promise<DataRange | undefined> {
    while (!this.#hasEnded && (this.#range === undefined || this.#range.end <= position)) {
      const next = await this.#ranges.next();
      if (next.done === true) {
        this.#hasEnded = true;
        this.#range = undefined;
      } else {
        this.#range = next.value;
      }
    }
    return this.#range;
  }
}
