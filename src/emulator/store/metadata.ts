import { SNAPSHOT_ID_PATTERN, VOLUME_SIZE_MAX_GIB } from '../../ebs/constants.js';
import { EnvironmentError, messageOf } from '../../util/errors.js';

export const SnapshotState = { Pending: 'pending', Completed: 'completed', Error: 'error' } as const;
export type SnapshotState = (typeof SnapshotState)[keyof typeof SnapshotState];

/** How a snapshot came to be. */
export const SnapshotOrigin = {
  /** StartSnapshot, PutSnapshotBlock, CompleteSnapshot. */
  Api: 'api',
  /** An image that was imported. */
  Import: 'import',
  /** Computed from a seed; has no blocks on disk. */
  Synth: 'synth',
} as const;
export type SnapshotOrigin = (typeof SnapshotOrigin)[keyof typeof SnapshotOrigin];

/** What CompleteSnapshot said there must be. */
export interface CompletionRequest {
  readonly changedBlocksCount: number;
  /** base64 of the LINEAR checksum, or null when none was given. */
  readonly checksum: string | null;
}

/** The parameters that a synthetic snapshot is computed from. */
export interface SynthParameters {
  /** From 0 to 2^32 - 1. */
  readonly seed: number;
  /** Listed blocks per million. */
  readonly fillPpm: number;
}

/** Everything about a snapshot but its blocks; one small file, always replaced as a whole. */
export interface SnapshotMetadata {
  readonly snapshotId: string;
  readonly origin: SnapshotOrigin;
  readonly state: SnapshotState;
  /** Why the state is `error`, else null. */
  readonly errorReason: string | null;
  readonly volumeSizeGib: number;
  readonly parentSnapshotId: string | null;
  /** The oldest ancestor (itself when it has no parent): snapshots with the same one are related. */
  readonly lineageRootId: string;
  readonly description: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly kmsKeyArn: string | null;
  readonly startTimeMs: number;
  readonly timeoutMinutes: number;
  readonly clientToken: string | null;
  /** Digest of the StartSnapshot that made it, to tell a repetition from another request. */
  readonly requestDigest: string | null;
  /** Given once CompleteSnapshot was called. */
  readonly completion: CompletionRequest | null;
  readonly completedAtMs: number | null;
  /** Blocks that are stored in this snapshot itself; null until it is complete. */
  readonly ownBlockCount: number | null;
  /** Blocks that it lists, the parent's included; null until it is complete. */
  readonly listedBlockCount: number | null;
  readonly synth: SynthParameters | null;
}

/** The metadata of a new pending snapshot without parent, to be spread and changed. */
export function newMetadata(
  snapshotId: string,
  volumeSizeGib: number,
  startTimeMs: number,
): SnapshotMetadata {
  return {
    snapshotId,
    origin: SnapshotOrigin.Api,
    state: SnapshotState.Pending,
    errorReason: null,
    volumeSizeGib,
    parentSnapshotId: null,
    lineageRootId: snapshotId,
    description: null,
    tags: {},
    kmsKeyArn: null,
    startTimeMs,
    timeoutMinutes: 60,
    clientToken: null,
    requestDigest: null,
    completion: null,
    completedAtMs: null,
    ownBlockCount: null,
    listedBlockCount: null,
    synth: null,
  };
}

/** The file's contents. */
export function encodeMetadata(metadata: SnapshotMetadata): string {
  return `${JSON.stringify(metadata, null, 2)}\n`;
}

/**
 * Reads what {@link encodeMetadata} wrote.
 *
 * @throws {EnvironmentError} when the file is damaged.
 */
export function decodeMetadata(text: string, path: string): SnapshotMetadata {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new EnvironmentError(`Cannot read ${path}: it is damaged (${messageOf(error)}).`, { cause: error });
  }
  if (!isMetadata(parsed))
    throw new EnvironmentError(`Cannot read ${path}: it does not describe a snapshot.`);
  return parsed;
}

function isMetadata(value: unknown): value is SnapshotMetadata {
  if (typeof value !== 'object' || value === null) return false;
  const { snapshotId, state, volumeSizeGib } = value as Partial<Record<keyof SnapshotMetadata, unknown>>;
  return (
    typeof snapshotId === 'string' &&
    SNAPSHOT_ID_PATTERN.test(snapshotId) &&
    Object.values(SnapshotState).includes(state as SnapshotState) &&
    Number.isInteger(volumeSizeGib) &&
    (volumeSizeGib as number) >= 1 &&
    (volumeSizeGib as number) <= VOLUME_SIZE_MAX_GIB
  );
}
