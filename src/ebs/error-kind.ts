import type { CallSubject } from './error-text.js';
import { EbsErrorKind, EbsOperation } from './errors.js';

/** What can be found out about anything that a client of the service throws. */
export interface Failure {
  readonly name: string;
  readonly text: string;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly requestId: string | undefined;
  /** Of Node.js: `ECONNREFUSED`. */
  readonly systemCode: string | undefined;
  /** The client has learnt the service's time from the answer, and will sign with it from now on. */
  readonly clockCorrected: boolean;
}

const KIND_BY_REASON: Readonly<Record<string, EbsErrorKind>> = {
  INVALID_BLOCK_TOKEN: EbsErrorKind.InvalidBlockToken,
  INVALID_PAGE_TOKEN: EbsErrorKind.InvalidPageToken,
  UNRELATED_SNAPSHOTS: EbsErrorKind.UnrelatedSnapshots,
  INVALID_CUSTOMER_KEY: EbsErrorKind.KeyUnavailable,
  INVALID_GRANT_TOKEN: EbsErrorKind.KeyUnavailable,
  GRANT_NOT_FOUND: EbsErrorKind.KeyUnavailable,
  DEPENDENCY_RESOURCE_NOT_FOUND: EbsErrorKind.KeyUnavailable,
  CONFLICTING_BLOCK_UPDATE: EbsErrorKind.Conflict,
  SNAPSHOT_NOT_FOUND: EbsErrorKind.NotFound,
  RESOURCE_LEVEL_THROTTLE: EbsErrorKind.ThrottledSnapshot,
  ACCOUNT_THROTTLED: EbsErrorKind.ThrottledAccount,
  DEPENDENCY_REQUEST_THROTTLED: EbsErrorKind.ThrottledAccount,
};

// Beside the names in the service's model: those that AWS answers in front of every service, and of SDK errors.
const KIND_BY_NAME: Readonly<Record<string, EbsErrorKind>> = {
  ThrottlingException: EbsErrorKind.ThrottledAccount,
  Throttling: EbsErrorKind.ThrottledAccount,
  TooManyRequestsException: EbsErrorKind.ThrottledAccount,
  RequestLimitExceeded: EbsErrorKind.ThrottledAccount,
  RequestThrottledException: EbsErrorKind.ThrottledSnapshot,
  ConcurrentLimitExceededException: EbsErrorKind.ConcurrentLimit,
  ServiceQuotaExceededException: EbsErrorKind.Quota,
  ConflictException: EbsErrorKind.Conflict,
  InternalServerException: EbsErrorKind.Server,
  ResourceNotFoundException: EbsErrorKind.NotFound,
  ValidationException: EbsErrorKind.InvalidRequest,
  ExpiredTokenException: EbsErrorKind.ExpiredCredentials,
  ExpiredToken: EbsErrorKind.ExpiredCredentials,
  TokenProviderError: EbsErrorKind.ExpiredCredentials,
  CredentialsProviderError: EbsErrorKind.NoCredentials,
  UnrecognizedClientException: EbsErrorKind.InvalidCredentials,
  InvalidClientTokenId: EbsErrorKind.InvalidCredentials,
  InvalidAccessKeyId: EbsErrorKind.InvalidCredentials,
  MissingAuthenticationTokenException: EbsErrorKind.InvalidCredentials,
  MissingAuthenticationToken: EbsErrorKind.InvalidCredentials,
  IncompleteSignature: EbsErrorKind.InvalidSignature,
  InvalidSignatureException: EbsErrorKind.InvalidSignature,
  SignatureDoesNotMatch: EbsErrorKind.InvalidSignature,
  RequestTimeTooSkewed: EbsErrorKind.ClockSkew,
  RequestExpired: EbsErrorKind.ClockSkew,
  RequestInTheFuture: EbsErrorKind.ClockSkew,
  AccessDeniedException: EbsErrorKind.AccessDenied,
  AccessDenied: EbsErrorKind.AccessDenied,
  // Of EC2.
  UnauthorizedOperation: EbsErrorKind.AccessDenied,
  OptInRequired: EbsErrorKind.AccessDenied,
  AuthFailure: EbsErrorKind.InvalidCredentials,
  'InvalidSnapshot.NotFound': EbsErrorKind.NotFound,
  'InvalidSnapshotID.Malformed': EbsErrorKind.InvalidRequest,
  TimeoutError: EbsErrorKind.Timeout,
};

const KIND_BY_SYSTEM_CODE: Readonly<Record<string, EbsErrorKind>> = {
  ENOTFOUND: EbsErrorKind.Dns,
  EAI_AGAIN: EbsErrorKind.Dns,
  ETIMEDOUT: EbsErrorKind.Timeout,
  ESOCKETTIMEDOUT: EbsErrorKind.Timeout,
  ECONNREFUSED: EbsErrorKind.Network,
  ECONNRESET: EbsErrorKind.Network,
  ECONNABORTED: EbsErrorKind.Network,
  EPIPE: EbsErrorKind.Network,
  EHOSTUNREACH: EbsErrorKind.Network,
  EHOSTDOWN: EbsErrorKind.Network,
  ENETUNREACH: EbsErrorKind.Network,
  ENETDOWN: EbsErrorKind.Network,
  EADDRNOTAVAIL: EbsErrorKind.Network,
  ERR_STREAM_PREMATURE_CLOSE: EbsErrorKind.Network,
  EPROTO: EbsErrorKind.Tls,
};

// The codes of OpenSSL for certificates, and of Node.js for names and for what is not TLS.
const TLS_CODES = /^(?:ERR_(?:TLS|SSL)_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH)/;
const CLOCK_TEXT = /signature (?:expired|not yet current)|time too skewed/i;
const CREDENTIALS_EXPIRED_TEXT = /expired/i;
const ARCHIVE_TEXT = /archive/i;
const SHORT_BODY_TEXT = /failed to read block data/i;
const REGION_TEXT = /region is missing|region not accepted/i;

/** Sorts a failure of a call by what is to be done about it. [ebs: Errors] */
export function kindOf(failure: Failure, subject: CallSubject): EbsErrorKind {
  const { name, text, status, reason } = failure;
  if (REGION_TEXT.test(text) && status === undefined) return EbsErrorKind.NoRegion;
  const kind = (reason === undefined ? undefined : KIND_BY_REASON[reason]) ?? KIND_BY_NAME[name];
  if (kind === undefined) return kindWithoutName(failure);
  // One name of the service stands for several things that need different advice.
  if (kind === EbsErrorKind.InvalidSignature && CLOCK_TEXT.test(text)) return EbsErrorKind.ClockSkew;
  if (kind === EbsErrorKind.NoCredentials && CREDENTIALS_EXPIRED_TEXT.test(text)) {
    return EbsErrorKind.ExpiredCredentials;
  }
  if (kind !== EbsErrorKind.InvalidRequest) return kind;
  if (SHORT_BODY_TEXT.test(text)) return EbsErrorKind.IncompleteUpload;
  const reads = subject.operation !== EbsOperation.PutSnapshotBlock;
  return reads && ARCHIVE_TEXT.test(text) ? EbsErrorKind.Archived : kind;
}

function kindWithoutName(failure: Failure): EbsErrorKind {
  const { name, status, systemCode } = failure;
  const byCode = systemCode === undefined ? undefined : KIND_BY_SYSTEM_CODE[systemCode];
  if (byCode !== undefined) return byCode;
  if (systemCode !== undefined && TLS_CODES.test(systemCode)) return EbsErrorKind.Tls;
  // The HTTP parser's own errors, such as HPE_INVALID_CONSTANT, and JSON that does not parse.
  const unreadable = systemCode?.startsWith('HPE_') === true || name === 'SyntaxError';
  if (status === undefined) return unreadable ? EbsErrorKind.MalformedAnswer : EbsErrorKind.Unknown;
  if (status === 429) return EbsErrorKind.ThrottledAccount;
  if (status === 408) return EbsErrorKind.Timeout;
  if (status >= 500) return EbsErrorKind.Server;
  if (status === 403 || status === 401) return EbsErrorKind.AccessDenied;
  // The service itself always names its errors: somebody else has answered.
  if (status === 404) return EbsErrorKind.MalformedAnswer;
  if (status >= 400 && !unreadable) return EbsErrorKind.InvalidRequest;
  return EbsErrorKind.MalformedAnswer;
}
