import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { ForkLock } from '../writer/fork-lock.js';
import { readForkStatus, type ForkStatus } from '../writer/fork-status.js';
import { forkFoldersOf } from './fork-opening.js';
import type { ForkSettings } from './settings.js';

/** All forks that can be read; what is wrong with the others is logged. */
export async function listForks(settings: ForkSettings, logger: Logger): Promise<readonly ForkStatus[]> {
  const found: ForkStatus[] = [];
  for (const folder of await forkFoldersOf(settings).list()) {
    try {
      found.push(await readForkStatus(folder));
    } catch (error) {
      logger.warn('cannot read a fork', { folder, error: messageOf(error) });
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Removes a fork and everything that was not committed, also one whose journal is damaged.
 *
 * @throws {UsageError} when there is none; {EnvironmentError} when a process has it.
 */
export async function discardFork(name: string, settings: ForkSettings, logger: Logger): Promise<void> {
  const folders = forkFoldersOf(settings);
  const path = await folders.require(name);
  const lock = await ForkLock.take(path, 'snapnbd discard', `the fork "${name}"`);
  const pendingSnapshotId = await readForkStatus(path).then(
    (status) => status.pendingSnapshotId,
    () => null,
  );
  await folders.remove(name);
  await lock.release();
  if (pendingSnapshotId !== null) {
    logger.warn(
      'a pending snapshot is left behind; AWS removes it when its time is up, or delete it with ec2 delete-snapshot',
      {
        snapshotId: pendingSnapshotId,
      },
    );
  }
}
