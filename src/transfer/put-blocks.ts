import { createHash } from 'node:crypto';
import { blockBuffers } from '../ebs/block-buffers.js';
import { blockChecksum, ZERO_BLOCK_CHECKSUM } from '../ebs/checksum.js';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../ebs/constants.js';
import type { ListedBlock } from '../ebs/snapshot-api.js';
import { isZeroBlock } from '../writer/block-putter.js';
import { callPending, type StartedSnapshotOf } from '../writer/pending-snapshot.js';
import { handleAtOnce } from './at-once.js';
import type { SuppliedBlock, SupplyItem } from './block-supply.js';
import type { DigestJournal } from './digest-journal.js';
import { BlockFate } from './journal-layout.js';
import { everyBlock, mergeBlocks, type MergedBlock } from './merged-blocks.js';
import type { PutOptions } from './put-options.js';
import { TransferStep, type TransferCounts } from './transfer-progress.js';

/** Blocks beside those that are put: they are being read, hashed or compared. */
const BESIDE_PUTS = 16;

const ZERO_BLOCK = { bytes: Buffer.alloc(BLOCK_BYTES), checksum: ZERO_BLOCK_CHECKSUM } as const;

/**
 * Puts all blocks of a disk that are due: those that differ from the parent's; without one, those that are no zeros; in an
 * encrypted snapshot zeros too, since a volume that AWS makes of it reads random bytes where nothing was ever put.
 *
 * @returns what CompleteSnapshot has to be told.
 */
export async function putBlocksOf<Item extends SupplyItem>(
  options: PutOptions<Item>,
  pending: StartedSnapshotOf,
  counts: TransferCounts,
  signal: AbortSignal,
): Promise<{ readonly blockCount: number; readonly checksum: string }> {
  const { supply, journal, parent, volumeSizeGib, inFlightMax } = options;
  const run = new PutRun(options, pending, counts);
  const blocks = (stop: AbortSignal): AsyncIterable<MergedBlock<Item, ListedBlock>> =>
    mergeBlocks({
      items: supply.blocks(stop),
      inherited: parent?.blocks(stop),
      // What an earlier run put is in the snapshot, whatever the disk holds there now.
      others: pending.encrypted
        ? everyBlock(volumeSizeGib * BLOCKS_PER_GIB)
        : journal.records('earlier runs'),
    });
  run.report();
  // A block that is compared with the parent's takes a fetch as well.
  const atOnceMax = inFlightMax * (parent === undefined && !supply.isImmutable ? 1 : 2) + BESIDE_PUTS;
  await handleAtOnce(blocks, atOnceMax, signal, (block, stop) => run.settle(block, stop));
  return completingOf(journal);
}

/** One pass over a disk. */
class PutRun<Item extends SupplyItem> {
  readonly #options: PutOptions<Item>;
  readonly #pending: StartedSnapshotOf;
  readonly #counts: TransferCounts;
  #doneCount = 0;

  constructor(options: PutOptions<Item>, pending: StartedSnapshotOf, counts: TransferCounts) {
    this.#options = options;
    this.#pending = pending;
    this.#counts = counts;
  }

  report(): void {
    const { supply, volumeSizeGib, onProgress } = this.#options;
    const { snapshotId, encrypted } = this.#pending;
    onProgress({
      step: TransferStep.Move,
      snapshotId,
      doneCount: this.#doneCount,
      totalCount: encrypted ? volumeSizeGib * BLOCKS_PER_GIB : supply.totalCount(),
      movedCount: this.#counts.movedCount,
    });
  }

  /** Brings one block into the snapshot, unless it is there. */
  async settle(block: MergedBlock<Item, ListedBlock>, signal: AbortSignal): Promise<void> {
    const fate = await this.#bring(block, signal);
    this.#counts[fate] += 1;
    if (block.item !== undefined || this.#pending.encrypted) this.#doneCount += 1;
    this.report();
  }

  async #bring(block: MergedBlock<Item, ListedBlock>, signal: AbortSignal): Promise<keyof TransferCounts> {
    const { supply, journal } = this.#options;
    const { blockIndex, item } = block;
    const record = await journal.prior(blockIndex);
    if (record !== undefined && supply.isImmutable) return keptAs(record.fate);
    const supplied: SuppliedBlock = item === undefined ? ZERO_BLOCK : await supply.read(item, signal);
    try {
      const { bytes } = supplied;
      const isZeros = supplied.checksum === ZERO_BLOCK_CHECKSUM || isZeroBlock(bytes);
      const checksum = isZeros ? ZERO_BLOCK_CHECKSUM : (supplied.checksum ?? (await blockChecksum(bytes)));
      if (record?.checksum === checksum) return keptAs(record.fate);
      if (record?.fate !== BlockFate.Moved && (await this.#isThere(block, checksum, signal)))
        return 'skippedCount';
      await this.#put({ blockIndex, bytes, checksum }, signal);
      journal.note({ blockIndex, fate: BlockFate.Moved, checksum });
      return 'movedCount';
    } finally {
      supplied.release?.();
    }
  }

  /** True when the block reads so without being put. */
  async #isThere(
    { blockIndex, inherited }: MergedBlock<Item, ListedBlock>,
    checksum: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { parent, journal } = this.#options;
    if (inherited === undefined || parent === undefined)
      return checksum === ZERO_BLOCK_CHECKSUM && !this.#pending.encrypted;
    const theirs = await parent.read(inherited, signal);
    blockBuffers.drop(theirs.bytes);
    if (theirs.checksum !== checksum) return false;
    journal.note({ blockIndex, fate: BlockFate.Inherited, checksum });
    return true;
  }

  async #put(
    block: { readonly blockIndex: number; readonly bytes: Buffer; readonly checksum: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { api, clock, limiter, pacer } = this.#options;
    const pending = this.#pending;
    // [ebs: PutSnapshotBlock]
    const request = { snapshotId: pending.snapshotId, ...block };
    const put = async (): Promise<void> => {
      await pacer.turn(signal);
      await callPending(pending, clock, signal, () => api.putSnapshotBlock(request, { signal }));
    };
    await limiter.run(put, undefined, signal);
  }
}

function keptAs(fate: BlockFate): keyof TransferCounts {
  return fate === BlockFate.Moved ? 'keptCount' : 'skippedCount';
}

/** [ebs: CompleteSnapshot] LINEAR: SHA-256 over the binary digests of the blocks put, in ascending order. */
async function completingOf(
  journal: DigestJournal,
): Promise<{ readonly blockCount: number; readonly checksum: string }> {
  const hash = createHash('sha256');
  let blockCount = 0;
  for await (const { fate, checksum } of journal.records('all runs')) {
    if (fate !== BlockFate.Moved) continue;
    hash.update(checksum, 'base64');
    blockCount += 1;
  }
  return { blockCount, checksum: hash.digest('base64') };
}
