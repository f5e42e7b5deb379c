import { mkdtempSync, realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseVolume } from '../../files/choose-volume.js';
import { readDiskLayout } from '../../files/disk-layout.js';
import { openFilesystem, READABLE_TYPES } from '../../files/open-filesystem.js';
import { attach, SOCKET_NAME } from '../../mount/attaching.js';
import { mountOptionsOf } from '../../mount/mount-options.js';
import { MountRecords, type MountRecord } from '../../mount/mount-record.js';
import { mustRunProgram } from '../../mount/program.js';
import { isMounted, undoMount } from '../../mount/undoing.js';
import { BlockCache } from '../../snapshot/block-cache.js';
import { openSnapshotDevice } from '../../snapshot/snapshot-device.js';
import { systemClock } from '../../util/clock.js';
import { EnvironmentError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { systemReason } from '../../util/system-reason.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import { connectApi } from '../api-connection.js';
import { checkSnapshotId } from '../export-spec.js';
import { DEFAULT_CACHE_MEMORY_BYTES, type ApiSettings } from '../settings.js';
import { startServerProcess } from './server-process.js';

export { createLogWriter } from '../log-writer.js';

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
}

/** What came of it. */
export interface Mounted {
  readonly directory: string;
  readonly type: string;
  readonly partition: number | undefined;
  readonly device: string;
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
  const { api, isWritable, mainPath } = task;
  const snapshotId = checkSnapshotId(task.snapshotId);
  requireRoot(
    'mount',
    ' "snapnbd ls" and "snapnbd cp" read ext2, ext3 and ext4 without; for others, "snapnbd serve" and guestmount (libguestfs-tools) do.',
  );
  const directory = checkDirectory(task.directory);
  const stateDir = task.stateDir ?? defaultStateDir(process.env);
  const records = new MountRecords(stateDir);
  const stale = records.read(directory);
  if (stale !== undefined || isMounted(directory)) {
    throw new EnvironmentError(
      `Cannot mount on ${directory}: it is in use already. "snapnbd umount ${directory}" undoes what "snapnbd mount" did there.`,
    );
  }
  // A fork is made only for what can be mounted, and the folder of an emulator is open once at a time.
  const isChosenFirst = isWritable || api.emulatorDir !== undefined;
  const found = isChosenFirst ? await findVolume(task, snapshotId) : undefined;
  const folder = mkdtempSync(join(tmpdir(), 'snapnbd-mount-'));
  const forkName = isWritable ? `mount-${folder.slice(-6)}` : undefined;
  const exportName = forkName ?? 'disk';
  let record: MountRecord = {
    version: 1,
    directory,
    snapshotId,
    forkName: forkName ?? null,
    folder,
    nbdDevice: null,
  };
  records.write(record);
  try {
    const starting = startServerProcess({
      mainPath,
      exportText: `${exportName}=${isWritable ? 'fork:' : ''}${snapshotId}`,
      socket: join(folder, SOCKET_NAME),
      folder,
      api,
      stateDir,
    });
    // The server takes as long to start as the volume to be chosen. Both end before anything is undone.
    const [choice, start] = await Promise.allSettled([found ?? findVolume(task, snapshotId), starting]);
    if (choice.status === 'rejected') throw choice.reason;
    if (start.status === 'rejected') throw start.reason;
    const { range, type, partition } = choice.value;
    const device = await attach({
      folder,
      exportName,
      isWritable,
      range,
      onDevice: (nbdDevice) => {
        record = { ...record, nbdDevice };
        records.write(record);
      },
    });
    const options = mountOptionsOf(type, isWritable);
    await mustRunProgram(
      'mount',
      ['-t', type, '-o', options, device, directory],
      `mount ${type} on ${directory}`,
    );
    return { directory, type, partition, device, forkName };
  } catch (error) {
    await undoMount(record);
    records.remove(directory);
    throw error;
  }
}

/** Undoes {@link mountSnapshot}, also what is left of one after a crash. @returns the fork that was mounted. */
export async function unmountSnapshot(task: {
  readonly directory: string;
  readonly stateDir?: string | undefined;
}): Promise<string | undefined> {
  requireRoot('umount');
  const directory = checkDirectory(task.directory);
  const records = new MountRecords(task.stateDir ?? defaultStateDir(process.env));
  const record = records.read(directory);
  if (record === undefined) {
    throw new EnvironmentError(`Cannot unmount ${directory}: "snapnbd mount" has mounted nothing there.`);
  }
  await undoMount(record);
  records.remove(directory);
  return record.forkName ?? undefined;
}

async function findVolume(
  { api, partition, logger, isWritable, onNote }: MountTask,
  snapshotId: string,
): Promise<{
  readonly range: { offset: number; lengthBytes: number };
  type: string;
  partition: number | undefined;
}> {
  const connection = await connectApi(api, { logger, clock: systemClock });
  try {
    const device = await openSnapshotDevice({
      api: connection.api,
      limiter: connection.limiter,
      snapshotId,
      cache: new BlockCache(DEFAULT_CACHE_MEMORY_BYTES),
      readsAhead: false,
      logger,
    });
    try {
      const { range, number, contents } = chooseVolume(await readDiskLayout(device), partition);
      const type = contents?.type ?? '';
      if (!isWritable && READABLE_TYPES.includes(type)) {
        const { journalBlockCount } = await openFilesystem(device, range);
        if (journalBlockCount > 0) {
          onNote(
            `The disk was in use when the snapshot was taken: ${journalBlockCount} blocks of its journal are newer than what is mounted. "--rw" mounts a fork that replays them; "snapnbd cp" reads them as well.`,
          );
        }
      }
      return { range, type, partition: number };
    } finally {
      device.close();
    }
  } finally {
    await connection.close();
  }
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
