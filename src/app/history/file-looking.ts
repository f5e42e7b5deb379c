import type { RangeSet } from '../../device/range-set.js';
import { DeviceError } from '../../device/device-error.js';
import { EbsError } from '../../ebs/errors.js';
import { FileError, FileErrorCode } from '../../files/file-error.js';
import type { FileStat } from '../../files/filesystem.js';
import { BlockCache } from '../../snapshot/block-cache.js';
import { openSnapshotDevice } from '../../snapshot/snapshot-device.js';
import { messageOf, SnapnbdError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { MIB } from '../../util/units.js';
import type { ApiConnection } from '../api-connection.js';
import { openVolumeOn } from '../files/snapshot-volume.js';
import { ReadRecorder } from './read-recorder.js';

/** For the structures of one filesystem at a time: directories and a journal. */
const CACHE_BYTES = 64 * MIB;

/** What a snapshot has under a path. */
export type FoundFile =
  | { readonly state: 'present'; readonly stat: FileStat }
  | { readonly state: 'absent' }
  /** @param reason one line. */
  | { readonly state: 'unknown'; readonly reason: string };

/** What was found, and what decided it. */
export interface FileLook {
  readonly file: FoundFile;
  /**
   * The blocks that decided it: a disk of the same size that is equal in them gives the same. Undefined where the service
   * or the network decided.
   */
  readonly blocks: RangeSet | undefined;
}

/** Where a file is looked for. */
export interface LookTask {
  readonly snapshotId: string;
  readonly path: string;
  readonly partition: string | undefined;
  readonly connection: ApiConnection;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Looks a file up in a snapshot by reading the way to its inode, and nothing of its content.
 *
 * @throws the signal's reason; other failures are part of the answer.
 */
export async function lookForFile(task: LookTask): Promise<FileLook> {
  const { snapshotId, path, partition, connection, logger, signal } = task;
  try {
    const device = await openSnapshotDevice({
      ...{ snapshotId, logger, signal },
      api: connection.api,
      limiter: connection.limiter,
      cache: new BlockCache(CACHE_BYTES),
      readsAhead: false,
    });
    const recorder = new ReadRecorder(device);
    try {
      const { filesystem } = await openVolumeOn(recorder, { snapshotId, partition, signal });
      const stat = await filesystem.stat(path, { signal });
      return { file: { state: 'present', stat }, blocks: recorder.blocks };
    } catch (error) {
      if (error instanceof EbsError || error instanceof DeviceError) throw error;
      return { file: fileOfError(error, signal), blocks: recorder.blocks };
    } finally {
      device.close();
    }
  } catch (error) {
    return { file: fileOfError(error, signal), blocks: undefined };
  }
}

/** Whether two files are the same version: the same inode, size and times, as backup programs have it. */
export function versionKeyOf({ inodeNumber, kind, sizeBytes, modifyTime, changeTime }: FileStat): string {
  const times = [modifyTime, changeTime].map(({ seconds, nanoseconds }) => `${seconds}.${nanoseconds}`);
  return [inodeNumber, kind, sizeBytes, ...times].join(' ');
}

function fileOfError(error: unknown, signal: AbortSignal): FoundFile {
  signal.throwIfAborted();
  if (!(error instanceof SnapnbdError)) throw error;
  if (
    error instanceof FileError &&
    (error.code === FileErrorCode.NotFound || error.code === FileErrorCode.NotDirectory)
  ) {
    return { state: 'absent' };
  }
  // The device's own words are those for a client.
  const told = error instanceof DeviceError && error.cause instanceof SnapnbdError ? error.cause : error;
  return { state: 'unknown', reason: messageOf(told) };
}
