import type { Volume } from '../../files/disk-layout.js';
import type { Filesystem } from '../../files/filesystem.js';
import { MountRecords } from '../../mount/mount-record.js';
import { openMounted } from '../../mount/mounted-filesystem.js';
import { undoMount } from '../../mount/undoing.js';
import type { Logger } from '../../util/logger.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import type { ApiSettings } from '../settings.js';
import { mountVolume } from './volume-mounting.js';

/** What is mounted to be read by this process alone. */
export interface ReadingMountTask {
  /** Checked. */
  readonly snapshotId: string;
  /** Number, label or UUID. Default: see {@link chooseVolume}. */
  readonly partition?: string | undefined;
  readonly api: ApiSettings;
  /** The program's own main file, which the server is started from. */
  readonly mainPath: string;
  readonly logger: Logger;
  /** Something that the user should know, in one line. */
  readonly onNote: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Mounts a volume of a snapshot read-only in a folder that only root can enter, until it is closed. Root alone can do
 * this.
 *
 * @throws {EnvironmentError} in one line with what to do.
 */
export async function mountForReading(task: ReadingMountTask): Promise<{
  readonly volume: Volume;
  readonly filesystem: Filesystem;
  close(): Promise<void>;
}> {
  const stateDir = defaultStateDir(process.env);
  const records = new MountRecords(stateDir);
  const { record, volume } = await mountVolume({
    ...task,
    ...{ isWritable: false, ownerPid: process.pid, stateDir, records, onNote: task.onNote },
  });
  const close = async (): Promise<void> => {
    await undoMount(record);
    records.remove(record.directory);
  };
  try {
    return { volume, filesystem: await openMounted(record.directory, volume.contents), close };
  } catch (error) {
    await close();
    throw error;
  }
}
