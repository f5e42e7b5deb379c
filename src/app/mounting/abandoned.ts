import type { MountRecords } from '../../mount/mount-record.js';
import { undoMount } from '../../mount/undoing.js';
import { messageOf, SnapnbdError, systemCodeOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';

/**
 * Undoes the mounts that were to end with a process which was killed. What cannot be undone is told, and tried again the
 * next time: it is not what anybody has asked for.
 */
export async function undoAbandoned(records: MountRecords, logger: Logger): Promise<void> {
  for (const record of records.list()) {
    if (record.ownerPid === null || isAlive(record.ownerPid)) continue;
    const { directory } = record;
    try {
      await undoMount(record);
      records.remove(directory);
    } catch (error) {
      if (!(error instanceof SnapnbdError) && systemCodeOf(error) === undefined) throw error;
      logger.warn('a mount that was left behind cannot be undone', { directory, error: messageOf(error) });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) !== 'ESRCH';
  }
}
