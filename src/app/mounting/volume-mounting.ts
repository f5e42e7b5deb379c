import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceError } from '../../device/device-error.js';
import { chooseVolume } from '../../files/choose-volume.js';
import { readDiskLayout, type Volume } from '../../files/disk-layout.js';
import { FileError } from '../../files/file-error.js';
import { openFilesystem, READABLE_TYPES } from '../../files/open-filesystem.js';
import { VolumeReader } from '../../files/volume-reader.js';
import { needsLogReplay } from '../../files/xfs/log-state.js';
import { SOCKET_NAME } from '../../mount/attach-task.js';
import { attachDisk, mountSourceOf, type AttachedDisk } from '../../mount/attaching.js';
import { openDiskFile, type DiskFile } from '../../mount/disk-file.js';
import { mountOptionsOf, mountTypesOf } from '../../mount/mount-options.js';
import type { MountRecord, MountRecords } from '../../mount/mount-record.js';
import { runProgram } from '../../mount/program.js';
import { undoMount } from '../../mount/undoing.js';
import { EnvironmentError, messageOf, SnapnbdError, systemCodeOf, UsageError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import type { ApiSettings } from '../settings.js';
import { lastComplaintOf, startServerProcess } from './server-process.js';

/** Which volume of which snapshot is mounted, and through what. */
export interface VolumeMountTask {
  /** Checked. */
  readonly snapshotId: string;
  /** Where to, an absolute path without links. Default: a folder of its own that only this user can enter, for {@link VolumeMountTask.ownerPid}. */
  readonly directory?: string | undefined;
  /** Number, label or UUID. Default: see {@link chooseVolume}. */
  readonly partition?: string | undefined;
  /** Mount a fork that can be written rather than the snapshot, read-only. */
  readonly isWritable: boolean;
  /** The process that the mount ends with; null for one that stays. */
  readonly ownerPid: number | null;
  readonly api: ApiSettings;
  readonly stateDir: string;
  readonly records: MountRecords;
  /** The program's own main file, which the server is started from. */
  readonly mainPath: string;
  readonly logger: Logger;
  /** Something that the user should know, in one line. */
  readonly onNote: (line: string) => void;
  /** Gives up, and undoes what has been done. */
  readonly signal?: AbortSignal | undefined;
}

/** A volume that is mounted. */
export interface MountedVolume {
  readonly record: MountRecord;
  readonly volume: Volume;
}

/**
 * Serves a snapshot by a process of its own, attaches it, chooses the volume and mounts it. Either all of that is there
 * in the end, or nothing.
 *
 * The server is started before anything else, as it takes the longest, and the disk is read through it: what the choice
 * of the volume needed is in the server's memory when the kernel asks for the same blocks.
 *
 * @throws {EnvironmentError} in one line with what to do; the signal's reason when it aborts.
 */
export async function mountVolume(task: VolumeMountTask): Promise<MountedVolume> {
  const { snapshotId, isWritable, ownerPid, records, mainPath, api, stateDir, signal } = task;
  const folder = mkdtempSync(join(tmpdir(), 'snapnbd-mount-'));
  const forkName = isWritable ? `mount-${folder.slice(-6)}` : null;
  const exportName = forkName ?? 'disk';
  const directory = task.directory ?? join(folder, 'files');
  let record: MountRecord = {
    ...{ version: 1, directory, snapshotId, forkName, folder, nbdDevice: null, ownerPid },
  };
  records.write(record);
  try {
    if (task.directory === undefined) mkdirSync(directory, { mode: 0o700 });
    await startServerProcess({
      ...{ mainPath, socket: join(folder, SOCKET_NAME), folder, api, stateDir, signal },
      exportText: `${exportName}=${isWritable ? 'fork:' : ''}${snapshotId}`,
    });
    const onDevice = (nbdDevice: string | null): void => {
      record = { ...record, nbdDevice };
      records.write(record);
    };
    signal?.throwIfAborted();
    const disk = await attachDisk({ folder, exportName, isWritable, onDevice, signal });
    signal?.throwIfAborted();
    const volume = await volumeOf(disk, task);
    signal?.throwIfAborted();
    await mountOn(directory, disk, volume, isWritable, ownerPid !== null);
    signal?.throwIfAborted();
    return { record, volume };
  } catch (error) {
    const complaint = error instanceof DeviceError ? lastComplaintOf(folder) : undefined;
    try {
      await undoMount(record);
      if (forkName !== null) await discardUnused(forkName, task);
      records.remove(directory);
    } catch (undoing) {
      if (!(undoing instanceof SnapnbdError) && systemCodeOf(undoing) === undefined) throw undoing;
      throw new EnvironmentError(
        `${messageOf(error)} Nor can what had been done be undone, which "snapnbd umount ${directory}" tries again: ${messageOf(undoing)}`,
        { cause: error },
      );
    }
    signal?.throwIfAborted();
    if (complaint === undefined) throw error;
    throw new EnvironmentError(`Cannot read the disk: ${complaint}`, { cause: error });
  }
}

async function volumeOf(disk: AttachedDisk, task: VolumeMountTask): Promise<Volume> {
  const device = await openDiskFile(disk.path);
  try {
    const volume = chooseVolume(await readDiskLayout(device), task.partition);
    if (!task.isWritable) await tellOfJournal(device, volume, task.onNote);
    return volume;
  } finally {
    await device.close();
  }
}

async function tellOfJournal(
  device: DiskFile,
  volume: Volume,
  onNote: (line: string) => void,
): Promise<void> {
  const inUse = 'The disk was in use when the snapshot was taken';
  try {
    if (volume.contents?.type === 'xfs' && (await needsLogReplay(new VolumeReader(device, volume.range)))) {
      onNote(
        `${inUse}: the log of its filesystem has changes that are not in what is mounted. "snapnbd mount --rw" mounts a fork that replays them.`,
      );
    }
    if (!READABLE_TYPES.includes(volume.contents?.type ?? '')) return;
    const { journalBlockCount } = await openFilesystem(device, volume.range);
    if (journalBlockCount === 0) return;
    onNote(
      `${inUse}: ${journalBlockCount} blocks of its journal are newer than what is mounted. "--rw" mounts a fork that replays them; "snapnbd cp" reads them as well.`,
    );
  } catch (error) {
    // What cannot be read in this process may well be read by the kernel.
    if (!(error instanceof FileError)) throw error;
  }
}

async function mountOn(
  directory: string,
  disk: AttachedDisk,
  { number, range, contents }: Volume,
  isWritable: boolean,
  isForReading: boolean,
): Promise<void> {
  const type = contents?.type ?? '';
  const { source, options } = await mountSourceOf(disk, number === undefined ? undefined : range);
  const all = [
    mountOptionsOf(type, isWritable),
    ...(isForReading ? ['nosuid,nodev,noexec'] : []),
    ...options,
  ];
  const { status, complaint } = await runProgram('mount', [
    ...['-t', mountTypesOf(type), '-o', all.join(',')],
    ...[source, directory],
  ]);
  if (status === 0) return;
  const isUnknown = complaint.includes('unknown filesystem type');
  const reason = isUnknown
    ? `this machine's kernel does not know ${type}; "modprobe ${type}" helps where it has a module for it, else another machine or guestfish (libguestfs-tools) reads it`
    : complaint.replace(`mount: ${directory}: `, '').replace(/\.$/, '') || 'mount(8) cannot be run';
  throw new EnvironmentError(`Cannot mount ${type} on ${directory}: ${reason}.`);
}

/** A fork is kept only of what was mounted. */
async function discardUnused(name: string, { stateDir, logger }: VolumeMountTask): Promise<void> {
  const { discardFork } = await import('../fork-keeping.js');
  try {
    await discardFork(name, { stateDir }, logger);
  } catch (error) {
    // It was not made yet.
    if (!(error instanceof UsageError)) throw error;
  }
}
