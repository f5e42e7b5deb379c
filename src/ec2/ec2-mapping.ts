import type { Snapshot } from '@aws-sdk/client-ec2';
import { SNAPSHOT_ID_PATTERN } from '../ebs/constants.js';
import { answerError } from '../ebs/error-map.js';
import type { CallSubject } from '../ebs/error-text.js';
import { EbsErrorKind } from '../ebs/errors.js';
import type { SnapshotDescription } from './ec2-api.js';

/**
 * A snapshot of an answer in plain types.
 *
 * @throws {EbsError} `contract-violation` when it lacks what every snapshot has.
 */
export function snapshotDescriptionOf(snapshot: Snapshot, subject: CallSubject): SnapshotDescription {
  const { SnapshotId, StartTime, VolumeSize, State, OwnerId } = snapshot;
  if (SnapshotId === undefined || !SNAPSHOT_ID_PATTERN.test(SnapshotId)) {
    throw malformed(subject, 'a snapshot has no id, or one that is none');
  }
  if (StartTime === undefined || Number.isNaN(StartTime.getTime()) || VolumeSize === undefined) {
    throw malformed(subject, `${SnapshotId} has no start time or no size`);
  }
  return {
    snapshotId: SnapshotId,
    volumeId: snapshot.VolumeId,
    state: State ?? 'unknown',
    volumeSizeGib: VolumeSize,
    startTimeMs: StartTime.getTime(),
    description: snapshot.Description ?? '',
    ownerId: OwnerId ?? '',
    ownerAlias: snapshot.OwnerAlias,
    progressPercent: Number.parseInt(snapshot.Progress ?? '0', 10) || 0,
    isEncrypted: snapshot.Encrypted === true,
    kmsKeyId: snapshot.KmsKeyId,
    storageTier: snapshot.StorageTier === 'archive' ? 'archive' : 'standard',
    tags: Object.fromEntries(
      (snapshot.Tags ?? []).flatMap(({ Key, Value }) => (Key === undefined ? [] : [[Key, Value ?? '']])),
    ),
  };
}

/** The error of an answer that cannot be used. */
export function malformed(subject: CallSubject, reasonText: string): Error {
  return answerError(EbsErrorKind.ContractViolation, subject, reasonText);
}
