import { BLOCK_BYTES, BLOCKS_PER_GIB, LIST_RESULTS_MAX } from '../ebs/constants.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { PageLister } from './page-lister.js';

/** What a whole snapshot holds. */
export interface SnapshotSummary {
  readonly volumeSizeGib: number;
  /** Blocks that were written at some time; all others read as zeros. */
  readonly listedBlocks: number;
  readonly listedBytes: number;
  /** When the first block token stops working, in milliseconds since 1970; undefined without tokens or expiry. */
  readonly earliestExpiryMs: number | undefined;
}

/** How far a listing has come. */
export interface ListingProgress {
  readonly listedBlockCount: number;
  /** From 0 to 1: the part of the volume that has been looked at. */
  readonly scannedFraction: number;
}

export interface SummaryOptions {
  /** Retrying. */
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  /** Called after each list call. */
  readonly onProgress?: (progress: ListingProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Lists a whole snapshot and counts, a page at a time: memory does not depend on its size. A full volume takes one call
 * for each 5 GiB.
 *
 * @throws {EbsError} when it cannot be listed; the signal's reason when it aborts.
 */
export async function summarizeSnapshot(options: SummaryOptions): Promise<SnapshotSummary> {
  const { api, snapshotId, onProgress, signal } = options;
  const lister = new PageLister(api, snapshotId);
  const callOptions = signal === undefined ? {} : { signal };
  let listedBlocks = 0;
  let earliestExpiryMs: number | undefined;
  let startIndex = 0;
  for (;;) {
    const range = await lister.list(startIndex, LIST_RESULTS_MAX, callOptions);
    const volumeSizeGib = lister.volumeSizeGib ?? 0;
    const blockCount = volumeSizeGib * BLOCKS_PER_GIB;
    listedBlocks += range.blocks.length;
    if (range.blocks.length > 0 && Number.isFinite(range.expiryMs)) {
      earliestExpiryMs = Math.min(earliestExpiryMs ?? range.expiryMs, range.expiryMs);
    }
    startIndex = range.endIndex;
    onProgress?.({ listedBlockCount: listedBlocks, scannedFraction: startIndex / blockCount });
    if (startIndex === blockCount) {
      return { volumeSizeGib, listedBlocks, listedBytes: listedBlocks * BLOCK_BYTES, earliestExpiryMs };
    }
  }
}
