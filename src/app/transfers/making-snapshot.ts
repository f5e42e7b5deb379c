import type { BlockSupply, SupplyItem } from '../../transfer/block-supply.js';
import type { ListedBlocks } from '../../transfer/listed-blocks.js';
import { putSnapshot, type PutOutcome } from '../../transfer/put-snapshot.js';
import type { TransferFolder } from '../../transfer/transfer-folder.js';
import { systemClock } from '../../util/clock.js';
import { GIB } from '../../util/units.js';
import { TIMEOUT_MINUTES, type CommitWishes } from '../../writer/fork-facts.js';
import { PutPacer } from '../../writer/put-pacer.js';
import type { ApiConnection } from '../api-connection.js';
import { DEFAULT_API_IN_FLIGHT_MAX, type ExpressedWishes } from '../settings.js';
import { roundedUsd, type TransferReport, type TransferTask } from './transfer-task.js';

/** What makes a snapshot. */
export interface MakingTask extends TransferTask {
  readonly wishes: ExpressedWishes;
  /** Puts a second, at most. Default: what the account allows. */
  readonly putsPerSecond?: number | undefined;
}

/** What `snapnbd upload` and `snapnbd copy` have come to. */
export interface MakingReport extends TransferReport {
  readonly parentSnapshotId: string | null;
  /** The snapshot's own blocks: moved and kept. */
  readonly blockCount: number;
  /** base64: the LINEAR checksum over them, which AWS has compared. */
  readonly checksum: string;
}

/** All that there is to wish for. */
export function allWishes(wishes: ExpressedWishes): CommitWishes {
  return {
    description: wishes.description ?? '',
    tags: wishes.tags ?? {},
    encryption: wishes.encryption ?? null,
    timeoutMinutes: wishes.timeoutMinutes ?? TIMEOUT_MINUTES,
  };
}

/** Makes a snapshot of what the supply gives. @param usd what calls have cost so far. */
export async function makeSnapshot<Item extends SupplyItem>(
  supply: BlockSupply<Item>,
  volumeSizeGib: number,
  {
    task,
    connection,
    folder,
    parent,
    usd,
  }: {
    readonly task: MakingTask;
    readonly connection: ApiConnection;
    readonly folder: TransferFolder;
    readonly parent: ListedBlocks | undefined;
    readonly usd: () => number;
  },
): Promise<PutOutcome> {
  const { api, putLimiter: limiter } = connection;
  const { logger, wishes, putsPerSecond = Number.POSITIVE_INFINITY, onProgress } = task;
  return putSnapshot(
    {
      ...{ supply, api, limiter, logger, volumeSizeGib, parent },
      clock: systemClock,
      journal: folder.journal,
      pacer: new PutPacer(systemClock, putsPerSecond),
      inFlightMax: task.api.inFlightMax ?? DEFAULT_API_IN_FLIGHT_MAX,
      wishes: allWishes(wishes),
      onProgress: (progress) => onProgress?.(progress, usd()),
    },
    task.signal,
  );
}

/** The report on a snapshot that was made. */
export function makingReportOf(
  outcome: PutOutcome,
  facts: {
    readonly parent: ListedBlocks | undefined;
    readonly volumeSizeGib: number;
    readonly startMs: number;
    readonly usd: number;
  },
): MakingReport {
  const { snapshotId, movedCount, keptCount, skippedCount, blockCount, checksum } = outcome;
  const { parent, volumeSizeGib, startMs, usd } = facts;
  return {
    ...{ snapshotId, parentSnapshotId: parent?.snapshotId ?? null, volumeSizeGib },
    sizeBytes: volumeSizeGib * GIB,
    ...{ blockCount, checksum },
    movedBlockCount: movedCount,
    keptBlockCount: keptCount,
    skippedBlockCount: skippedCount,
    seconds: (performance.now() - startMs) / 1000,
    costUsd: roundedUsd(usd),
  };
}
