import { SnapnbdError } from '../util/errors.js';

/** The six operations of the EBS direct APIs, by the names that AWS gives them. */
export const EbsOperation = {
  ListSnapshotBlocks: 'ListSnapshotBlocks',
  ListChangedBlocks: 'ListChangedBlocks',
  GetSnapshotBlock: 'GetSnapshotBlock',
  StartSnapshot: 'StartSnapshot',
  PutSnapshotBlock: 'PutSnapshotBlock',
  CompleteSnapshot: 'CompleteSnapshot',
} as const;
export type EbsOperation = (typeof EbsOperation)[keyof typeof EbsOperation];

/** What went wrong, as far as it makes a difference to what is done about it. */
export const EbsErrorKind = {
  /** No such snapshot here: unknown, in another region or account, still pending, or in the archive tier. */
  NotFound: 'not-found',
  /** The snapshot exists in the archive tier, where it cannot be read. */
  Archived: 'archived',
  AccessDenied: 'access-denied',
  ExpiredCredentials: 'expired-credentials',
  NoCredentials: 'no-credentials',
  /** The service does not know the key, or the secret does not belong to it. */
  InvalidCredentials: 'invalid-credentials',
  /** The signature does not fit the request; on a put also: the checksum does not fit the data. */
  InvalidSignature: 'invalid-signature',
  ClockSkew: 'clock-skew',
  NoRegion: 'no-region',
  /** The KMS key of the snapshot, or a grant on it, cannot be used. */
  KeyUnavailable: 'key-unavailable',
  /** The account's request quota. */
  ThrottledAccount: 'throttled-account',
  /** The request quota of one snapshot. */
  ThrottledSnapshot: 'throttled-snapshot',
  /** Too many snapshots are being started or completed, or pending. */
  ConcurrentLimit: 'concurrent-limit',
  /** Expired, or not of this snapshot and index: list again. */
  InvalidBlockToken: 'invalid-block-token',
  /** Expired after 60 minutes, or not of this listing: start the listing again. */
  InvalidPageToken: 'invalid-page-token',
  UnrelatedSnapshots: 'unrelated-snapshots',
  InvalidRequest: 'invalid-request',
  Quota: 'quota',
  Conflict: 'conflict',
  /** The service did not get all of the block that was put. */
  IncompleteUpload: 'incomplete-upload',
  Timeout: 'timeout',
  /** Connection refused, reset, cut. */
  Network: 'network',
  Dns: 'dns',
  /** The certificate of the endpoint is not trusted, or it does not speak TLS. */
  Tls: 'tls',
  /** Status 500 and up. */
  Server: 'server',
  /** The length or checksum of what arrived is not what the service declared. */
  CorruptBlock: 'corrupt-block',
  /** The answer could not be read as one of this API. */
  MalformedAnswer: 'malformed-answer',
  /** The answer contradicts an earlier one, or the rules of the API. */
  ContractViolation: 'contract-violation',
  /** Refused on this side: it would cost more than calls may cost. */
  CostLimit: 'cost-limit',
  /** Anything else; never retried. */
  Unknown: 'unknown',
} as const;
export type EbsErrorKind = (typeof EbsErrorKind)[keyof typeof EbsErrorKind];

const THROTTLED_KINDS: ReadonlySet<EbsErrorKind> = new Set([
  EbsErrorKind.ThrottledAccount,
  EbsErrorKind.ThrottledSnapshot,
  EbsErrorKind.ConcurrentLimit,
]);

// [ebs: Retry] The same request may succeed later without anybody doing anything.
const RETRYABLE_KINDS: ReadonlySet<EbsErrorKind> = new Set([
  ...THROTTLED_KINDS,
  EbsErrorKind.IncompleteUpload,
  EbsErrorKind.Timeout,
  EbsErrorKind.Network,
  EbsErrorKind.Dns,
  EbsErrorKind.Server,
  EbsErrorKind.CorruptBlock,
  EbsErrorKind.MalformedAnswer,
]);

/** What is known about a failure beside its message. */
export interface EbsErrorDetails {
  readonly kind: EbsErrorKind;
  /** Default: whatever the kind says. */
  readonly retryable?: boolean;
  readonly operation?: EbsOperation | undefined;
  /** HTTP status. */
  readonly status?: number | undefined;
  /** The error's name as the service gave it, such as `ValidationException`. */
  readonly serviceError?: string | undefined;
  /** The service's reason, such as `INVALID_BLOCK_TOKEN`. */
  readonly reason?: string | undefined;
  /** x-amzn-RequestId, for a support case. */
  readonly requestId?: string | undefined;
  readonly cause?: unknown;
}

/**
 * A call of the EBS direct APIs failed, or could not be made. The message is one line: "Cannot VERB THING:
 * REASON. WHAT TO DO".
 */
export class EbsError extends SnapnbdError {
  override readonly name = 'EbsError';
  readonly kind: EbsErrorKind;
  /** Whether the same call may succeed later without anybody doing anything. */
  readonly retryable: boolean;
  readonly operation: EbsOperation | undefined;
  /** HTTP status, or undefined where there was no answer. */
  readonly status: number | undefined;
  readonly serviceError: string | undefined;
  readonly reason: string | undefined;
  readonly requestId: string | undefined;

  constructor(message: string, details: EbsErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = details.kind;
    this.retryable = details.retryable ?? RETRYABLE_KINDS.has(details.kind);
    this.operation = details.operation;
    this.status = details.status;
    this.serviceError = details.serviceError;
    this.reason = details.reason;
    this.requestId = details.requestId;
  }

  /** True when the service asks for fewer requests, rather than failing. */
  get throttled(): boolean {
    return THROTTLED_KINDS.has(this.kind);
  }
}

/** True for an {@link EbsError} of that kind. */
export function isEbsError(thrown: unknown, kind: EbsErrorKind): thrown is EbsError {
  return thrown instanceof EbsError && thrown.kind === kind;
}

/** The same failure in other words. Its cause is the one that is copied. */
export function copyOfError(
  error: EbsError,
  message: string,
  changes: Pick<EbsErrorDetails, 'retryable'> = {},
): EbsError {
  const { kind, retryable, operation, status, serviceError, reason, requestId } = error;
  const details = { kind, retryable, operation, status, serviceError, reason, requestId, cause: error };
  return new EbsError(message, { ...details, ...changes });
}
