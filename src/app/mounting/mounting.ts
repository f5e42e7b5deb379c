import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { MountRecords, type MountRecord } from '../../mount/mount-record.js';
import { isMounted } from '../../mount/mount-table.js';
import { undoMount } from '../../mount/undoing.js';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { systemReason } from '../../util/system-reason.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import { checkSnapshotId } from '../export-spec.js';
import type { ApiSettings } from '../settings.js';
import { undoAbandoned } from './abandoned.js';
import { mountVolume } from './volume-mounting.js';

export { createLogWriter } from '../log-writer.js';
export { watchStopSignals } from '../stop-signals.js';

/** What is mounted, and where. */
export interface MountTask {
  readonly snapshotId: string;
  readonly directory: string;
  /** Number, label or UUID. Default: see {@link chooseVolume}. */
  readonly partition?: string | undefined;
  /** Mount a fork that can be written. Default: the snapshot, read-only. */
  readonly isWritable: boolean;
  readonly api: ApiSettings;
  /** Default: `$XDG_STATE_HOME/snapnbd`, else `~/.local/state/snapnbd`. */
  readonly stateDir?: string | undefined;
  /** The program's own main file, which the server is started from. */
  readonly mainPath: string;
  readonly logger: Logger;
  /** Something that the user should know, in one line. */
  readonly onNote: (line: string) => void;
  /** Gives up, and undoes what has been done. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface Mounted {
  readonly directory: string;
  readonly type: string;
  readonly partition: number | undefined;
  /** Undefined where nothing can be written. */
  readonly forkName: string | undefined;
}

/**
 * Mounts a filesystem of a snapshot: serves it in the background, attaches it and mounts it. Either all of that is
 * there in the end, or nothing.
 *
 * @throws {EnvironmentError} in one line with what to do.
 */
export async function mountSnapshot(task: MountTask): Promise<Mounted> {
  const snapshotId = checkSnapshotId(task.snapshotId);
  requireRoot(
    'mount',
    ' "snapnbd ls" and "snapnbd cp" read ext2, ext3 and ext4 without; for others, "snapnbd serve" and guestmount (libguestfs-tools) do.',
  );
  const directory = checkDirectory(task.directory);
  const stateDir = task.stateDir ?? defaultStateDir(process.env);
  const records = new MountRecords(stateDir);
  if (records.read(directory) !== undefined || isMounted(directory)) {
    throw new EnvironmentError(
      `Cannot mount on ${directory}: it is in use already. "snapnbd umount ${directory}" undoes what "snapnbd mount" did there.`,
    );
  }
  await undoAbandoned(records, task.logger);
  const { volume, record } = await mountVolume({
    ...task,
    snapshotId,
    directory,
    ownerPid: null,
    stateDir,
    records,
  });
  return {
    directory,
    type: volume.contents?.type ?? '',
    partition: volume.number,
    forkName: record.forkName ?? undefined,
  };
}

/** Undoes {@link mountSnapshot}, also what is left of one after a crash. @returns the fork that was mounted. */
export async function unmountSnapshot(task: {
  readonly directory: string;
  readonly stateDir?: string | undefined;
  readonly logger: Logger;
}): Promise<string | undefined> {
  requireRoot('umount');
  const records = new MountRecords(task.stateDir ?? defaultStateDir(process.env));
  const record = recordOf(task.directory, records);
  if (record === undefined) {
    throw new EnvironmentError(
      `Cannot unmount ${task.directory}: "snapnbd mount" has mounted nothing there (by the records in ${records.folder}).`,
    );
  }
  await undoMount(record);
  records.remove(record.directory);
  await undoAbandoned(records, task.logger);
  return record.forkName ?? undefined;
}

function requireRoot(command: string, otherWays = ''): void {
  if (process.getuid?.() === 0) return;
  throw new EnvironmentError(`Cannot ${command} without root: run it with sudo.${otherWays}`);
}

function checkDirectory(path: string): string {
  try {
    const directory = realpathSync(path);
    if (!statSync(directory).isDirectory())
      throw new EnvironmentError(`Cannot use "${path}": it is no directory.`);
    return directory;
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(`Cannot use the directory "${path}": ${systemReason(error)}.`, {
      cause: error,
    });
  }
}

/** A directory whose disk has gone may answer nothing but errors, and may have been removed: then its name has to do. */
function recordOf(path: string, records: MountRecords): MountRecord | undefined {
  const absolute = resolve(path);
  for (const directoryOf of [
    () => realpathSync(absolute),
    () => join(realpathSync(dirname(absolute)), basename(absolute)),
    () => absolute,
  ]) {
    try {
      const record = records.read(directoryOf());
      if (record !== undefined) return record;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
    }
  }
  return undefined;
}
