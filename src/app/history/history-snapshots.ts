import { EbsErrorKind, copyOfError, isEbsError } from '../../ebs/errors.js';
import { NO_VOLUME_ID, type Ec2Api, type SnapshotDescription } from '../../ec2/ec2-api.js';
import { findSnapshots } from '../../ec2/find-snapshots.js';
import { EnvironmentError, UsageError, messageOf } from '../../util/errors.js';
import { checkSnapshotId } from '../export-spec.js';

/** Ids of EC2: 8 (until 2016) or 17 hexadecimal digits. */
const VOLUME_ID_PATTERN = /^vol-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;

/** Snapshots beyond the shown ones, of which the newest that can be read is what the last shown one is compared with. */
const BEYOND_MAX = 16;

/** Whose history is meant: a volume, or a snapshot and the older ones of its volume. */
export type HistorySubject =
  | { readonly kind: 'volume'; readonly volumeId: string }
  | { readonly kind: 'snapshot'; readonly snapshotId: string };

/** The snapshots of one volume, the newest first. */
export interface VolumeSnapshots {
  readonly volumeId: string;
  readonly shown: readonly SnapshotDescription[];
  /** Older ones, a few of them. */
  readonly beyond: readonly SnapshotDescription[];
}

/** Reads VOLUME or SNAP. @throws {UsageError} when it is no id of either. */
export function parseHistorySubject(text: string): HistorySubject {
  if (text.startsWith('snap-')) return { kind: 'snapshot', snapshotId: checkSnapshotId(text) };
  if (!VOLUME_ID_PATTERN.test(text)) {
    throw new UsageError(
      `Cannot use "${text}": name a volume, such as vol-0123456789abcdef0, or one of its snapshots.`,
    );
  }
  if (text === NO_VOLUME_ID) {
    throw new UsageError(
      `Cannot show the history of ${NO_VOLUME_ID}: EC2 gives it to all snapshots that were made of no volume.`,
    );
  }
  return { kind: 'volume', volumeId: text };
}

/**
 * Asks EC2 for the snapshots of a volume.
 *
 * @param countMax of those that are shown, the newest ones.
 * @throws {EnvironmentError} when there are none, or the snapshot was made of no volume; {EbsError}.
 */
export async function snapshotsOf(
  ec2: Ec2Api,
  subject: HistorySubject,
  countMax: number,
  signal: AbortSignal,
): Promise<VolumeSnapshots> {
  try {
    const newest = subject.kind === 'volume' ? undefined : await describe(ec2, subject.snapshotId, signal);
    const volumeId = subject.kind === 'volume' ? subject.volumeId : volumeOf(newest, subject.snapshotId);
    const found = await findSnapshots(
      ec2,
      {
        filters: [{ name: 'volume-id', values: [volumeId] }],
        countMax: countMax + BEYOND_MAX,
        accept: (snapshot) => newest === undefined || !isNewer(snapshot, newest),
      },
      { signal },
    );
    if (found.length === 0) {
      throw new EnvironmentError(
        `Cannot find a snapshot of ${volumeId}: there is none that this identity sees. Check the id and the region (${ec2.region}).`,
      );
    }
    return { volumeId, shown: found.slice(0, countMax), beyond: found.slice(countMax) };
  } catch (error) {
    if (subject.kind === 'volume' || !isEbsError(error, EbsErrorKind.AccessDenied)) throw error;
    throw copyOfError(
      error,
      `${messageOf(error)} Only EC2 knows which snapshots are of one volume; without it, "snapnbd map ${subject.snapshotId} --against OLDER" compares two of them.`,
    );
  }
}

async function describe(
  ec2: Ec2Api,
  snapshotId: string,
  signal: AbortSignal,
): Promise<SnapshotDescription | undefined> {
  const { snapshots } = await ec2.describeSnapshots({ snapshotIds: [snapshotId] }, { signal });
  return snapshots.find((snapshot) => snapshot.snapshotId === snapshotId);
}

function volumeOf(snapshot: SnapshotDescription | undefined, snapshotId: string): string {
  const volumeId = snapshot?.volumeId;
  if (volumeId !== undefined && volumeId !== NO_VOLUME_ID) return volumeId;
  throw new EnvironmentError(
    `Cannot show the history of ${snapshotId}: EC2 knows no volume of it, as it was copied or put by the EBS direct APIs. "snapnbd map ${snapshotId} --against OLDER" compares it with another snapshot.`,
  );
}

// In the order in which they are found: by their start, then by their ids.
function isNewer(snapshot: SnapshotDescription, other: SnapshotDescription): boolean {
  if (snapshot.startTimeMs !== other.startTimeMs) return snapshot.startTimeMs > other.startTimeMs;
  return snapshot.snapshotId < other.snapshotId;
}
