import type { MountRecords } from '../../mount/mount-record.js';
import { undoMount } from '../../mount/undoing.js';
import { systemCodeOf } from '../../util/errors.js';

/** Undoes the mounts that were to end with a process which was killed. */
export async function undoAbandoned(records: MountRecords): Promise<void> {
  for (const record of records.list()) {
    if (record.ownerPid === null || isAlive(record.ownerPid)) continue;
    await undoMount(record);
    records.remove(record.directory);
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
