import { messageOf, systemCodeOf } from '../util/errors.js';
import { errorText, type CallSubject } from './error-text.js';
import { kindOf, type Failure } from './error-kind.js';
import { EbsError, EbsErrorKind } from './errors.js';

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
  const retryable = retryableUnlike(kind, failure);
  return new EbsError(errorText(kind, subject, reasonTextOf(kind, failure, subject)), {
    kind,
    ...(retryable === undefined ? {} : { retryable }),
    operation: subject.operation,
    status: failure.status,
    serviceError: failure.status === undefined ? undefined : failure.name,
    reason: failure.reason,
    requestId: failure.requestId,
    cause: thrown,
  });
}

// [ebs: Retry] Where it is not the kind that decides whether to try again.
function retryableUnlike(kind: EbsErrorKind, { clockCorrected, status = 0 }: Failure): boolean | undefined {
  // The next try is signed with the service's own time.
  if (kind === EbsErrorKind.ClockSkew && clockCorrected) return true;
  // Somebody who does not know this API will not learn it.
  if (kind === EbsErrorKind.MalformedAnswer && status >= 400) return false;
  return undefined;
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

const KEY_TEXT = /\bkms\b|customer master key|encryption key/i;

type ReasonText = (failure: Failure, subject: CallSubject) => string;

const REASON_TEXTS: Partial<Readonly<Record<EbsErrorKind, ReasonText>>> = {
  [EbsErrorKind.NotFound]: ({ text }, subject) =>
    subject.other !== undefined && text !== ''
      ? text
      : `the service has no such snapshot that can be read${inRegion(subject)}${quoted(text)}`,
  [EbsErrorKind.Archived]: ({ text }) => `the snapshot is in the archive tier${quoted(text)}`,
  [EbsErrorKind.AccessDenied]: ({ text }) =>
    `access${KEY_TEXT.test(text) ? " to the snapshot's encryption key" : ''} was denied${quoted(text)}`,
  [EbsErrorKind.ExpiredCredentials]: ({ text }) => `the AWS credentials have expired${quoted(text)}`,
  [EbsErrorKind.NoCredentials]: ({ text }, { profile }) =>
    `no AWS credentials were found${profile === undefined ? '' : ` by the profile "${profile}"`}${quoted(text)}`,
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
  return subject.endpoint ?? (subject.other === undefined ? 'the EBS endpoint' : 'the EC2 endpoint');
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
