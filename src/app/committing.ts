import { BlockCache } from '../snapshot/block-cache.js';
import { systemClock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { MIB } from '../util/units.js';
import type { CommitProgress } from '../writer/commit.js';
import type { CommitResult } from '../writer/fork.js';
import { connectApi } from './api-connection.js';
import { sendCommand } from './fork-control.js';
import { forkFoldersOf, openFork } from './fork-opening.js';
import type { ApiSettings, ExpressedWishes, ForkSettings } from './settings.js';

export { createLogWriter } from './log-writer.js';
export { discardFork, listForks } from './fork-keeping.js';
export type { CommitProgress } from '../writer/commit.js';
export type { CommitResult } from '../writer/fork.js';
export type { ForkStatus } from '../writer/fork-status.js';

/** Blocks of the base are needed once, where a block was written in part. */
const CACHE_BYTES = 64 * MIB;

/** What `snapnbd commit` does. */
export interface CommitTask {
  readonly name: string;
  readonly api: ApiSettings;
  readonly forks: ForkSettings;
  readonly wishes: ExpressedWishes;
  /** Also when clients are connected. */
  readonly live: boolean;
  readonly noWait: boolean;
  readonly logger: Logger;
  readonly onProgress: (progress: CommitProgress) => void;
}

/**
 * Commits a fork: through the server that has it, or here when none does.
 *
 * @throws {UsageError} when there is no such fork; {EnvironmentError}, {CommitError}, {EbsError}.
 */
export async function commitFork(task: CommitTask): Promise<CommitResult> {
  const { name, forks, logger, onProgress, wishes, live, noWait } = task;
  const path = await forkFoldersOf(forks).require(name);
  const request = { command: 'commit', wishes, live, noWait } as const;
  const served = await sendCommand(path, request, onProgress);
  if (served !== undefined) return served;
  const connection = await connectApi(task.api, { logger, clock: systemClock });
  try {
    const cache = new BlockCache(CACHE_BYTES);
    const context = { connection, cache, logger, clock: systemClock, forks };
    const owned = await openFork(name, undefined, 'snapnbd commit', context);
    try {
      return await owned.fork.commit({ ...wishes, noWait, onProgress });
    } finally {
      await owned.close();
    }
  } finally {
    await connection.close();
  }
}
