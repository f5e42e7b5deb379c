import { EbsErrorKind, EbsOperation } from './errors.js';

/** What a call was about, for the words of its errors; what is not known is left out. */
export interface CallSubject {
  /** Left out: before the first call, and for calls of another service. */
  readonly operation?: EbsOperation | undefined;
  /** A call of another service. */
  readonly other?: OtherCall | undefined;
  readonly snapshotId?: string | undefined;
  /** The older one of two that are compared, or the parent of one that is started. */
  readonly otherSnapshotId?: string | undefined;
  readonly blockIndex?: number | undefined;
  readonly region?: string | undefined;
  readonly profile?: string | undefined;
  /** Where the request went, as a URL without a path. */
  readonly endpoint?: string | undefined;
}

/** A call of another service than the EBS direct APIs. */
export interface OtherCall {
  /** "VERB THING", to go after "Cannot". */
  readonly attempt: string;
  /** What a policy has to allow: `ec2:DescribeSnapshots`. */
  readonly permission: string;
  /** The option that sets its endpoint. */
  readonly endpointOption: string;
}

/** "VERB THING", to go after "Cannot". */
export function attemptText(subject: CallSubject): string {
  if (subject.other !== undefined) return subject.other.attempt;
  const id = subject.snapshotId ?? 'the snapshot';
  switch (subject.operation) {
    case EbsOperation.ListSnapshotBlocks:
      return `list the blocks of ${id}`;
    case EbsOperation.ListChangedBlocks:
      return `compare ${subject.otherSnapshotId ?? 'another snapshot'} with ${id}`;
    case EbsOperation.GetSnapshotBlock:
      return `read block ${subject.blockIndex ?? '?'} of ${id}`;
    case EbsOperation.StartSnapshot:
      return subject.otherSnapshotId === undefined
        ? 'start a snapshot'
        : `start a snapshot on top of ${subject.otherSnapshotId}`;
    case EbsOperation.PutSnapshotBlock:
      return `write block ${subject.blockIndex ?? '?'} of ${id}`;
    case EbsOperation.CompleteSnapshot:
      return `complete ${id}`;
    case undefined:
      return 'use the EBS direct APIs';
  }
}

/** What a person does about a failure: sentences, or an empty text where there is nothing to do. */
export function adviceText(kind: EbsErrorKind, subject: CallSubject): string {
  const region = subject.region ?? 'REGION';
  const profileOption = subject.profile === undefined ? '' : ` --profile ${subject.profile}`;
  const id = subject.snapshotId ?? 'SNAPSHOT';
  const endpointOption = subject.other?.endpointOption ?? '--endpoint-url';
  switch (kind) {
    case EbsErrorKind.NotFound:
      if (subject.other !== undefined) return `Check the id and the region (${region}).`;
      return (
        `Check the id and the region (${region}): snapshots that are pending, failed, in the archive tier or ` +
        `of another account cannot be read; "aws ec2 describe-snapshots --snapshot-ids ${id} --region ${region}` +
        `${profileOption}" shows it.`
      );
    case EbsErrorKind.Archived:
      return `Restore it first: aws ec2 restore-snapshot-tier --snapshot-id ${id} --region ${region}${profileOption}`;
    case EbsErrorKind.AccessDenied:
      if (subject.other !== undefined) return `Allow ${subject.other.permission} to this identity.`;
      return (
        `Allow ebs:${subject.operation ?? '*'} on arn:aws:ec2:${region}::snapshot/${subject.snapshotId ?? '*'} to this ` +
        'identity (and, for an encrypted snapshot, kms:Decrypt on its key).'
      );
    case EbsErrorKind.KeyUnavailable:
      return (
        'Check that the KMS key is enabled, and that this identity has kms:Decrypt, kms:DescribeKey, ' +
        'kms:GenerateDataKey* and kms:CreateGrant on it.'
      );
    case EbsErrorKind.ExpiredCredentials:
      return `Renew them: "aws sso login${profileOption}", or set fresh keys in the environment or ~/.aws/credentials.`;
    case EbsErrorKind.NoCredentials:
      return (
        'Give some: "aws configure", --profile NAME, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an instance ' +
        'role.'
      );
    case EbsErrorKind.InvalidCredentials:
      return `Check the access key and its secret: "aws sts get-caller-identity${profileOption}" must succeed.`;
    case EbsErrorKind.InvalidSignature:
      return subject.operation === EbsOperation.PutSnapshotBlock
        ? 'Either the data was damaged on its way or the secret key is wrong: try again, then check the keys.'
        : `Check the secret key: "aws sts get-caller-identity${profileOption}" must succeed.`;
    case EbsErrorKind.ClockSkew:
      return 'Set the clock of this machine: "timedatectl set-ntp true".';
    case EbsErrorKind.NoRegion:
      return 'Give one: --region REGION, AWS_REGION, or "region" in ~/.aws/config.';
    case EbsErrorKind.ThrottledAccount:
    case EbsErrorKind.ThrottledSnapshot:
      return 'Ask for less at once, or have the quota raised (Service Quotas, "EBS direct APIs").';
    case EbsErrorKind.ConcurrentLimit:
      return 'Wait until other snapshots have been completed (at most 100 may be pending).';
    case EbsErrorKind.UnrelatedSnapshots:
      return 'Only snapshots of one volume, or of one lineage, can be compared.';
    case EbsErrorKind.Quota:
      return 'Have the quota raised, or delete what is not needed.';
    case EbsErrorKind.Timeout:
    case EbsErrorKind.Network:
      return `Check the network, ${endpointOption} and --region.`;
    case EbsErrorKind.Dns:
      return `Check the name server, ${endpointOption} and --region.`;
    case EbsErrorKind.Tls:
      return `Check ${endpointOption}; a private authority can be trusted by NODE_EXTRA_CA_CERTS=FILE.`;
    case EbsErrorKind.Server:
      return 'The service has a fault; try again later.';
    case EbsErrorKind.CorruptBlock:
      return 'The data is damaged on the way or at the service; try again, then tell AWS support.';
    case EbsErrorKind.MalformedAnswer:
    case EbsErrorKind.ContractViolation:
      return `Check that ${endpointOption} leads to ${subject.other === undefined ? 'the EBS direct APIs' : 'EC2'}, and not to something else.`;
    case EbsErrorKind.CostLimit:
      return 'Raise --max-cost, or start again: it counts from the start of the program.';
    case EbsErrorKind.InvalidBlockToken:
    case EbsErrorKind.InvalidPageToken:
    case EbsErrorKind.InvalidRequest:
    case EbsErrorKind.Conflict:
    case EbsErrorKind.IncompleteUpload:
    case EbsErrorKind.Unknown:
      return '';
  }
}

/** The whole line: "Cannot VERB THING: REASON. WHAT TO DO". */
export function errorText(kind: EbsErrorKind, subject: CallSubject, reasonText: string): string {
  const reason = reasonText.trim().replace(/\.+$/, '');
  const advice = adviceText(kind, subject);
  return `Cannot ${attemptText(subject)}: ${reason}.${advice === '' ? '' : ` ${advice}`}`;
}
