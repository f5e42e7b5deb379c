import { BLOCKS_PER_GIB } from '../ebs/constants.js';
import { summarizeSnapshot } from '../snapshot/snapshot-listing.js';
import { systemClock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { connectApi } from './api-connection.js';
import type { ApiSettings } from './settings.js';

export { createLogWriter } from './log-writer.js';
export { checkSnapshotId } from './export-spec.js';

/** How far a listing has come. */
export interface ListingProgress {
  readonly listedBlockCount: number;
  /** From 0 to 1: the part of the volume that has been looked at. */
  readonly scannedFraction: number;
}

/** What `snapnbd info` shows, and what its JSON has. */
export interface SnapshotInfo {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  /** Blocks of 512 KiB that the volume has. */
  readonly volumeBlockCount: number;
  /** Blocks that were ever written; the others read as zeros. */
  readonly listedBlockCount: number;
  readonly listedBytes: number;
  /** ISO 8601; null where there are no block tokens. */
  readonly tokensExpireAt: string | null;
  /** List calls that this took, and what they cost in US dollars. */
  readonly listCallCount: number;
  readonly costUsd: number;
}

/** What to look at, and through what. */
export interface InfoTask {
  readonly snapshotId: string;
  readonly api: ApiSettings;
  readonly logger: Logger;
  readonly onProgress?: (progress: ListingProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Lists a whole snapshot, which takes one List call for each 10,000 blocks, and counts.
 *
 * @throws {EnvironmentError} without region or credentials, and {EbsError} when it cannot be listed.
 */
export async function readSnapshotInfo({
  snapshotId,
  api,
  logger,
  onProgress,
  signal,
}: InfoTask): Promise<SnapshotInfo> {
  const connection = await connectApi(api, { logger, clock: systemClock });
  try {
    const summary = await summarizeSnapshot({
      api: connection.api,
      snapshotId,
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
    const { calls, usd } = connection.usage();
    return {
      snapshotId,
      volumeSizeGib: summary.volumeSizeGib,
      volumeBlockCount: summary.volumeSizeGib * BLOCKS_PER_GIB,
      listedBlockCount: summary.listedBlocks,
      listedBytes: summary.listedBytes,
      tokensExpireAt:
        summary.earliestExpiryMs === undefined ? null : new Date(summary.earliestExpiryMs).toISOString(),
      listCallCount: calls.ListSnapshotBlocks,
      costUsd: Number(usd.toFixed(9)),
    };
  } finally {
    await connection.close();
  }
}
