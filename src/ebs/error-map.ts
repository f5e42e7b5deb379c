import { messageOf, systemCodeOf } from '../util/errors.js';
import { errorText, type CallSubject } from './error-text.js';
import { EbsError, EbsErrorKind, EbsOperation } from './errors.js';

/** What can be found out about anything that a client of the service throws. */
interface Failure {
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

/**
 * The one map from what an HTTP client or the SDK throws, and from both error shapes of the service, to
 * {@link EbsError}. An EbsError comes back as it is.
 *
 * [ebs: Errors]
 */
export function toEbsError(thrown: unknown, subject: CallSubject): EbsError {
  if (thrown instanceof EbsError) return thrown;
  const failure = inspect(thrown);
  const kind = kindOf(failure, subject);
  const correctedSkew = kind === EbsErrorKind.ClockSkew && failure.clockCorrected;
  return new EbsError(errorText(kind, subject, reasonTextOf(kind, failure, subject)), {
    kind,
    // [ebs: Retry] The next try is signed with the service's own time.
    ...(correctedSkew ? { retryable: true } : {}),
    operation: subject.operation,
    status: failure.status,
    serviceError: failure.status === undefined ? undefined : failure.name,
    reason: failure.reason,
    requestId: failure.requestId,
    cause: thrown,
  });
}

/** An error of this side about an answer: its length, its checksum, its contents. */
export function answerError(
  kind:
    | typeof EbsErrorKind.CorruptBlock
    | typeof EbsErrorKind.MalformedAnswer
    | typeof EbsErrorKind.ContractViolation,
  subject: CallSubject,
  reasonText: string,
): EbsError {
  return new EbsError(errorText(kind, subject, reasonText), { kind, operation: subject.operation });
}

/** The error of a call that was given up after `timeoutMs`. */
export function timeoutError(subject: CallSubject, timeoutMs: number): EbsError {
  const kind = EbsErrorKind.Timeout;
  const text = `no complete answer${fromEndpoint(subject)} within ${Math.round(timeoutMs)} ms`;
  return new EbsError(errorText(kind, subject, text), { kind, operation: subject.operation });
}

function inspect(thrown: unknown): Failure {
  const error = recordOf(thrown);
  const metadata = recordOf(error.$metadata);
  const response = recordOf(error.$response);
  // The SDK reports a connection that was refused on several addresses as one error around them.
  const inner: unknown = Array.isArray(error.errors) ? error.errors[0] : undefined;
  return {
    name: textOf(error.name) ?? 'Error',
    text: lineOf(textOf(error.Message) ?? textOf(error.message) ?? messageOf(inner ?? thrown)),
    status: numberOf(metadata.httpStatusCode) ?? numberOf(response.statusCode),
    reason: textOf(error.Reason),
    requestId: textOf(metadata.requestId),
    systemCode: systemCodeOf(thrown) ?? systemCodeOf(inner),
    clockCorrected: metadata.clockSkewCorrected === true,
  };
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
  UnauthorizedOperation: EbsErrorKind.AccessDenied,
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
const KEY_TEXT = /\bkms\b|customer master key|encryption key/i;
const ARCHIVE_TEXT = /archive/i;
const SHORT_BODY_TEXT = /failed to read block data/i;
const REGION_TEXT = /region is missing|region not accepted/i;

function kindOf(failure: Failure, subject: CallSubject): EbsErrorKind {
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
  if (status === 404 && !unreadable) return EbsErrorKind.NotFound;
  if (status >= 400 && !unreadable) return EbsErrorKind.InvalidRequest;
  return EbsErrorKind.MalformedAnswer;
}

type ReasonText = (failure: Failure, subject: CallSubject) => string;

const REASON_TEXTS: Partial<Readonly<Record<EbsErrorKind, ReasonText>>> = {
  [EbsErrorKind.NotFound]: ({ text }, subject) =>
    `the service has no such snapshot that can be read${inRegion(subject)}${quoted(text)}`,
  [EbsErrorKind.Archived]: ({ text }) => `the snapshot is in the archive tier${quoted(text)}`,
  [EbsErrorKind.AccessDenied]: ({ text }) =>
    `access${KEY_TEXT.test(text) ? " to the snapshot's encryption key" : ''} was denied${quoted(text)}`,
  [EbsErrorKind.ExpiredCredentials]: ({ text }) => `the AWS credentials have expired${quoted(text)}`,
  [EbsErrorKind.NoCredentials]: ({ text }) => `no AWS credentials were found${quoted(text)}`,
  [EbsErrorKind.InvalidCredentials]: ({ text }) =>
    `the service does not accept the AWS credentials${quoted(text)}`,
  [EbsErrorKind.ClockSkew]: ({ text }) => `the clock of this machine is wrong${quoted(text)}`,
  [EbsErrorKind.NoRegion]: ({ text }) =>
    text === 'Region is missing' ? 'no AWS region is configured' : text,
  [EbsErrorKind.ThrottledAccount]: ({ text }, subject) =>
    `the account's request quota${inRegion(subject)} is used up${quoted(text)}`,
  [EbsErrorKind.ThrottledSnapshot]: ({ text }) =>
    `the request quota of this snapshot is used up${quoted(text)}`,
  [EbsErrorKind.Timeout]: ({ text }, subject) => `no answer${fromEndpoint(subject)} in time${quoted(text)}`,
  [EbsErrorKind.Network]: ({ text, systemCode, name }, subject) =>
    `the connection to ${endpointOf(subject)} failed (${text || (systemCode ?? name)})`,
  [EbsErrorKind.Dns]: ({ text }, subject) => `the host of ${endpointOf(subject)} cannot be found (${text})`,
  [EbsErrorKind.Tls]: ({ text }, subject) =>
    `there is no trusted TLS connection to ${endpointOf(subject)} (${text})`,
  [EbsErrorKind.Server]: ({ text, status }) =>
    `the service answered with status ${status ?? 500}${quoted(text)}`,
  [EbsErrorKind.MalformedAnswer]: ({ text, status }, subject) =>
    `the answer${fromEndpoint(subject)} (status ${status ?? 'unknown'}) cannot be read${quoted(text)}`,
};

function reasonTextOf(kind: EbsErrorKind, failure: Failure, subject: CallSubject): string {
  const reasonText = REASON_TEXTS[kind];
  if (reasonText !== undefined) return reasonText(failure, subject);
  if (failure.text === '') return failure.name;
  return failure.reason === undefined ? failure.text : `${failure.text} (${failure.reason})`;
}

function endpointOf(subject: CallSubject): string {
  return subject.endpoint ?? 'the EBS endpoint';
}

function fromEndpoint(subject: CallSubject): string {
  return subject.endpoint === undefined ? '' : ` from ${subject.endpoint}`;
}

function inRegion(subject: CallSubject): string {
  return subject.region === undefined ? '' : ` in ${subject.region}`;
}

// Long enough for the service's own sentences with an ARN or two, short enough for a log line.
const LINE_CHARACTERS_MAX = 500;

function lineOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  // What the SDK writes where the service says nothing.
  return line === 'UnknownError' ? '' : line.slice(0, LINE_CHARACTERS_MAX);
}

function quoted(text: string): string {
  return text === '' ? '' : ` ("${text.replace(/\.+$/, '')}")`;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
