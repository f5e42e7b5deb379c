import { open } from 'node:fs/promises';
import { EbsError, EbsErrorKind } from '../../ebs/errors.js';
import { dataRanges } from '../../emulator/import/data-ranges.js';
import type { FindData } from '../../transfer/image-target.js';
import { GOES_ON } from '../../transfer/transfer-error.js';
import type { TransferProgress } from '../../transfer/transfer-progress.js';
import { EnvironmentError, messageOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import type { ApiSettings } from '../settings.js';

export type { TransferProgress } from '../../transfer/transfer-progress.js';

/** What all transfers are told. */
export interface TransferTask {
  readonly api: ApiSettings;
  /** Where unfinished transfers are noted. Default: `$XDG_STATE_HOME/snapnbd`, else `~/.local/state/snapnbd`. */
  readonly stateDir?: string | undefined;
  readonly logger: Logger;
  /** Stops it, so that it can be gone on with. */
  readonly signal: AbortSignal;
  /** Gets the progress, with the US dollars of calls so far. Default: nobody looks, and nothing is counted for it. */
  readonly onProgress?: ((progress: TransferProgress, usd: number) => void) | undefined;
}

/** What transfers say at the end, and what their JSON has. */
export interface TransferReport {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  readonly sizeBytes: number;
  /** Blocks of 512 KiB that this run moved, that an earlier run had moved, and that needed no moving. */
  readonly movedBlockCount: number;
  readonly keptBlockCount: number;
  readonly skippedBlockCount: number;
  readonly seconds: number;
  /** US dollars, by the published prices. */
  readonly costUsd: number;
}

export function stateDirOf({ stateDir }: TransferTask): string {
  return stateDir ?? defaultStateDir(process.env);
}

/** Finds the holes of files, where the system can tell. */
export function findDataWith(logger: Logger): FindData {
  return (fd, sizeBytes) => dataRanges(fd, sizeBytes, logger);
}

/** Makes renames and new names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Runs a transfer, and says in the message of what stops it how to go on.
 *
 * @param canGoOn false for one that leaves nothing behind.
 */
export async function goingOn<T>(signal: AbortSignal, canGoOn: boolean, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (signal.aborted)
      throw new EnvironmentError(`Stopped. ${canGoOn ? GOES_ON : 'Nothing is kept of it.'}`, {
        cause: error,
      });
    if (canGoOn && error instanceof EbsError && (error.retryable || MENDABLE.has(error.kind)))
      throw new EnvironmentError(`${messageOf(error)} ${GOES_ON}`, { cause: error });
    throw error;
  }
}

/** What a person mends, and then goes on. */
const MENDABLE: ReadonlySet<EbsErrorKind> = new Set([
  EbsErrorKind.CostLimit,
  EbsErrorKind.ExpiredCredentials,
  EbsErrorKind.ClockSkew,
]);

/** Dollars with the digits that mean something. */
export function roundedUsd(usd: number): number {
  return Number(usd.toFixed(9));
}
