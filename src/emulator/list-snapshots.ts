import { stat } from 'node:fs/promises';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';
import type { SnapshotOrigin, SnapshotState, SynthParameters } from './store/metadata.js';
import { SnapshotReader } from './store/snapshot-reader.js';

/** A snapshot as `snapnbd emulator list --json` shows it. */
export interface ListedSnapshot {
  readonly snapshotId: string;
  readonly state: SnapshotState;
  readonly errorReason: string | null;
  readonly origin: SnapshotOrigin;
  readonly volumeSizeGib: number;
  readonly parentSnapshotId: string | null;
  readonly description: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly kmsKeyArn: string | null;
  /** ISO 8601. */
  readonly startTime: string;
  /** Blocks that the snapshot stores itself; null until it is complete, as the next one. */
  readonly ownBlockCount: number | null;
  /** Blocks that it lists, its ancestors' included. */
  readonly listedBlockCount: number | null;
  readonly synth: SynthParameters | null;
}

/**
 * The snapshots of a folder, the oldest first.
 *
 * @throws {EnvironmentError} when there is no such folder, or it is not an emulator's.
 */
export async function listSnapshots(dir: string): Promise<ListedSnapshot[]> {
  await mustExist(dir);
  const reader = await SnapshotReader.open(dir);
  try {
    const snapshots = await reader.catalog.all();
    return snapshots.map((metadata) => ({
      snapshotId: metadata.snapshotId,
      state: metadata.state,
      errorReason: metadata.errorReason,
      origin: metadata.origin,
      volumeSizeGib: metadata.volumeSizeGib,
      parentSnapshotId: metadata.parentSnapshotId,
      description: metadata.description,
      tags: metadata.tags,
      kmsKeyArn: metadata.kmsKeyArn,
      startTime: new Date(metadata.startTimeMs).toISOString(),
      ownBlockCount: metadata.ownBlockCount,
      listedBlockCount: metadata.listedBlockCount,
      synth: metadata.synth,
    }));
  } finally {
    await reader.close();
  }
}

/** Looking must not make a folder, where a slip of the pen named one that is not there. */
async function mustExist(dir: string): Promise<void> {
  try {
    await stat(dir);
  } catch (error) {
    const reason = systemCodeOf(error) === 'ENOENT' ? 'there is no such folder' : systemReason(error);
    throw new EnvironmentError(`Cannot list ${dir}: ${reason}.`, { cause: error });
  }
}
