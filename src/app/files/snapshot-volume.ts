import type { BlockDevice } from '../../device/block-device.js';
import { chooseVolume } from '../../files/choose-volume.js';
import { readDiskLayout, type Volume } from '../../files/disk-layout.js';
import type { Filesystem } from '../../files/filesystem.js';
import { openFilesystem, READABLE_TYPES } from '../../files/open-filesystem.js';
import { BlockCache } from '../../snapshot/block-cache.js';
import { openSnapshotDevice } from '../../snapshot/snapshot-device.js';
import { systemClock } from '../../util/clock.js';
import { EnvironmentError, UsageError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { MountRecords } from '../../mount/mount-record.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import { undoAbandoned } from '../mounting/abandoned.js';
import { connectApi } from '../api-connection.js';
import { checkSnapshotId } from '../export-spec.js';
import { DEFAULT_CACHE_MEMORY_BYTES, type ApiSettings } from '../settings.js';

/** A place in a snapshot, as it stands on the command line. */
export interface SnapshotPath {
  readonly snapshotId: string;
  /** Default, where it was left out: the root. */
  readonly path: string;
}

/** Which filesystem is opened, and through what. */
export interface VolumeTask {
  readonly snapshotId: string;
  /** Number, label or UUID. Default: see {@link chooseVolume}. */
  readonly partition?: string | undefined;
  readonly api: ApiSettings;
  readonly logger: Logger;
  /** Something that the user should know, in one line. */
  readonly onNote: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** The program's own main file, which a server is started from where the filesystem has to be mounted. */
  readonly mainPath: string;
}

/** A filesystem in a snapshot, opened. */
export interface SnapshotVolume {
  readonly volume: Volume;
  readonly filesystem: Filesystem;
  close(): Promise<void>;
}

/**
 * Reads `SNAP` or `SNAP:PATH`.
 *
 * @throws {UsageError} when the snapshot's id is none, or there is nothing after the colon.
 */
export function parseSnapshotPath(text: string): SnapshotPath {
  const colon = text.indexOf(':');
  if (colon < 0) return { snapshotId: checkSnapshotId(text), path: '/' };
  const path = text.slice(colon + 1);
  if (path === '')
    throw new UsageError(`Cannot use "${text}": name a path after the colon, or leave it out.`);
  return { snapshotId: checkSnapshotId(text.slice(0, colon)), path };
}

/**
 * Opens a filesystem of a snapshot: through its device in this process, with the cache and the read-ahead of that, or
 * else, as root, by mounting it read-only in a folder of its own until it is closed; where that is not possible, by
 * guestfish. What processes that were killed have left of a mount is undone first.
 *
 * @throws {EnvironmentError} for a volume that is not found, or that has to be mounted.
 * @throws {FileError} for one that is damaged, and {EbsError} for a snapshot that cannot be read.
 */
export async function openSnapshotVolume(task: VolumeTask): Promise<SnapshotVolume> {
  if (isRoot()) await undoAbandoned(new MountRecords(defaultStateDir(process.env)), task.logger);
  return openVolume(task, isRoot());
}

async function openVolume(task: VolumeTask, mayMount: boolean): Promise<SnapshotVolume> {
  const { snapshotId, partition, api, logger, signal } = task;
  const connection = await connectApi(api, { logger, clock: systemClock });
  const releases: (() => void | Promise<void>)[] = [() => connection.close()];
  const close = async (): Promise<void> => {
    for (const release of releases.splice(0).reverse()) await release();
  };
  try {
    const device = await openSnapshotDevice({
      api: connection.api,
      limiter: connection.limiter,
      snapshotId,
      cache: new BlockCache(DEFAULT_CACHE_MEMORY_BYTES),
      logger,
      ...(signal === undefined ? {} : { signal }),
    });
    releases.push(() => device.close());
    const volume = chooseVolume(await readDiskLayout(device, signal), partition);
    if (isReadable(volume)) return { volume, filesystem: await opened(device, volume, signal), close };
    if (mayMount) {
      // The server of the mount opens the snapshot itself.
      await close();
      return (await mounted(task)) ?? (await openVolume(task, false));
    }
    await requireGuestfish(volume);
    const { openVolumeByGuestfish } = await import('../mounting/reading-guestfish.js');
    task.onNote(
      `Reading ${volume.contents?.type ?? ''} by libguestfs: its virtual machine is being started, which takes seconds with KVM and up to a minute without.`,
    );
    const { filesystem, close: closeGuestfish } = await openVolumeByGuestfish({ ...task, device, volume });
    releases.push(closeGuestfish);
    return { volume, filesystem, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Finds a filesystem on a snapshot's disk and opens it.
 *
 * @throws as {@link openSnapshotVolume}.
 */
export async function openVolumeOn(
  device: BlockDevice,
  { snapshotId, partition, signal }: Pick<VolumeTask, 'snapshotId' | 'partition' | 'signal'>,
): Promise<Pick<SnapshotVolume, 'volume' | 'filesystem'>> {
  const volume = chooseVolume(await readDiskLayout(device, signal), partition);
  if (!isReadable(volume)) {
    throw new EnvironmentError(
      `Cannot read ${volume.contents?.type ?? ''} without mounting it (that works for ext2, ext3 and ext4): "snapnbd mount ${snapshotId} DIR" mounts it.`,
    );
  }
  return { volume, filesystem: await opened(device, volume, signal) };
}

function opened(
  device: BlockDevice,
  { range }: Volume,
  signal: AbortSignal | undefined,
): Promise<Filesystem> {
  return openFilesystem(device, range, signal === undefined ? {} : { signal });
}

function isReadable({ contents }: Volume): boolean {
  return READABLE_TYPES.includes(contents?.type ?? '');
}

/** @returns undefined where it cannot be mounted, and guestfish is installed. @throws {EnvironmentError} where it is not. */
async function mounted(task: VolumeTask): Promise<SnapshotVolume | undefined> {
  const { mountForReading } = await import('../mounting/reading-mount.js');
  try {
    return await mountForReading(task);
  } catch (error) {
    task.signal?.throwIfAborted();
    if (!(error instanceof EnvironmentError)) throw error;
    const { hasGuestfish } = await import('../mounting/reading-guestfish.js');
    if (!(await hasGuestfish())) throw error;
    task.onNote(error.message);
    return undefined;
  }
}

async function requireGuestfish({ contents }: Volume): Promise<void> {
  const { hasGuestfish } = await import('../mounting/reading-guestfish.js');
  if (await hasGuestfish()) return;
  throw new EnvironmentError(
    `Cannot read ${contents?.type ?? ''} without mounting it (that works for ext2, ext3 and ext4): run this as root, with sudo; or install guestfish (Debian: libguestfs-tools), which this uses where it may not mount.`,
  );
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
