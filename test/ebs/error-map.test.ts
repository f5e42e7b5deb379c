import t from 'tap';
import { toEbsError } from '../../src/ebs/error-map.js';
import type { CallSubject } from '../../src/ebs/error-text.js';
import { EbsError, EbsErrorKind, EbsOperation, isEbsError } from '../../src/ebs/errors.js';

const GET: CallSubject = {
  operation: EbsOperation.GetSnapshotBlock,
  snapshotId: 'snap-0123456789abcdef0',
  blockIndex: 5,
  region: 'eu-west-1',
  endpoint: 'https://ebs.eu-west-1.amazonaws.com',
};
const LIST: CallSubject = { ...GET, operation: EbsOperation.ListSnapshotBlocks };
const PUT: CallSubject = { ...GET, operation: EbsOperation.PutSnapshotBlock };

/** An error as the SDK makes it of an answer. */
function answered(status: number, name: string, Message?: string, Reason?: string): Error {
  const $metadata = { httpStatusCode: status, requestId: 'r' };
  return Object.assign(new Error(Message ?? 'UnknownError'), { name, Message, Reason, $metadata });
}

/** An error as Node.js makes it. */
function system(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

const cases: [string, unknown, EbsErrorKind, boolean, RegExp, CallSubject?][] = [
  [
    'no such snapshot',
    answered(404, 'ResourceNotFoundException', 'gone', 'SNAPSHOT_NOT_FOUND'),
    'not-found',
    false,
    /no such snapshot that can be read in eu-west-1 \("gone"\)\. Check the id and the region \(eu-west-1\).*archive tier.*describe-snapshots --snapshot-ids snap-0123456789abcdef0 --region eu-west-1/,
  ],
  [
    'a grant that is gone',
    answered(404, 'ResourceNotFoundException', 'gone', 'GRANT_NOT_FOUND'),
    'key-unavailable',
    false,
    /kms:Decrypt/,
  ],
  [
    'archive tier',
    answered(400, 'ValidationException', 'The snapshot is in the archive tier', 'INVALID_SNAPSHOT_ID'),
    'archived',
    false,
    /aws ec2 restore-snapshot-tier --snapshot-id snap-0123456789abcdef0/,
  ],
  [
    'no permission',
    answered(
      403,
      'AccessDeniedException',
      'User: arn:aws:iam::1:user/a is not authorized to perform: ebs:GetSnapshotBlock',
    ),
    'access-denied',
    false,
    /^Cannot read block 5 of snap-0123456789abcdef0: access was denied \("User: .*Block"\)\. Allow ebs:GetSnapshotBlock on arn:aws:ec2:eu-west-1::snapshot\/snap-0123456789abcdef0 to this identity/,
  ],
  [
    'no permission on the key',
    answered(403, 'AccessDeniedException', 'kms:Decrypt denied', 'DEPENDENCY_ACCESS_DENIED'),
    'access-denied',
    false,
    /encryption key was denied.*kms:Decrypt on its key/,
  ],
  ['another 403', answered(403, 'Forbidden'), 'access-denied', false, /access was denied\. Allow/],
  [
    'expired token',
    answered(403, 'ExpiredTokenException', 'The security token included in the request is expired'),
    'expired-credentials',
    false,
    /credentials have expired.*aws sso login"/,
  ],
  [
    'expired login',
    Object.assign(new Error('Token is expired.'), { name: 'CredentialsProviderError' }),
    'expired-credentials',
    false,
    /aws sso login --profile dev"/,
    { ...LIST, profile: 'dev' },
  ],
  [
    'no credentials',
    Object.assign(new Error('Could not load credentials from any providers'), {
      name: 'CredentialsProviderError',
    }),
    'no-credentials',
    false,
    /^Cannot use the EBS direct APIs: no AWS credentials were found \("Could not load .*"\)\. Give some: "aws configure"/,
    {},
  ],
  [
    'no region',
    new Error('Region is missing'),
    'no-region',
    false,
    /^Cannot use the EBS direct APIs: no AWS region is configured\. Give one: --region REGION, AWS_REGION/,
    {},
  ],
  [
    'a region that is none',
    new Error('Region not accepted: region="a b" is not a valid hostname component.'),
    'no-region',
    false,
    /region="a b" is not a valid hostname component\. Give one/,
    {},
  ],
  [
    'unknown key',
    answered(403, 'UnrecognizedClientException', 'The security token included in the request is invalid.'),
    'invalid-credentials',
    false,
    /aws sts get-caller-identity/,
  ],
  [
    'wrong secret',
    answered(403, 'InvalidSignatureException', 'The request signature we calculated does not match'),
    'invalid-signature',
    false,
    /Check the secret key/,
  ],
  [
    'wrong checksum of a put',
    answered(403, 'InvalidSignatureException', 'Checksum mismatch'),
    'invalid-signature',
    false,
    /^Cannot write block 5.*damaged on its way/,
    PUT,
  ],
  [
    'wrong clock',
    answered(403, 'InvalidSignatureException', 'Signature expired: 2020 is now earlier than 2026'),
    'clock-skew',
    false,
    /timedatectl/,
  ],
  [
    'account throttled',
    answered(400, 'ThrottlingException', 'Rate exceeded'),
    'throttled-account',
    true,
    /account's request quota in eu-west-1 is used up/,
  ],
  [
    'snapshot throttled',
    answered(400, 'RequestThrottledException', 'Slow', 'RESOURCE_LEVEL_THROTTLE'),
    'throttled-snapshot',
    true,
    /quota of this snapshot is used up/,
  ],
  [
    'account throttled, by its reason',
    answered(400, 'RequestThrottledException', 'Slow', 'ACCOUNT_THROTTLED'),
    'throttled-account',
    true,
    /account/,
  ],
  ['throttled by its status', answered(429, 'Whatever'), 'throttled-account', true, /quota/],
  [
    'too many snapshots at once',
    answered(400, 'ConcurrentLimitExceededException', 'many'),
    'concurrent-limit',
    true,
    /^Cannot start a snapshot: many\. Wait until/,
    { operation: EbsOperation.StartSnapshot },
  ],
  [
    'quota',
    answered(402, 'ServiceQuotaExceededException', 'full', 'DEPENDENCY_SERVICE_QUOTA_EXCEEDED'),
    'quota',
    false,
    /full \(DEPENDENCY_SERVICE_QUOTA_EXCEEDED\)/,
  ],
  [
    'conflict',
    answered(409, 'ConflictException', 'other body'),
    'conflict',
    false,
    /^Cannot start a snapshot on top of snap-1: other body\.$/,
    { operation: EbsOperation.StartSnapshot, otherSnapshotId: 'snap-1' },
  ],
  [
    'block token',
    answered(400, 'ValidationException', 'bad', 'INVALID_BLOCK_TOKEN'),
    'invalid-block-token',
    false,
    /INVALID_BLOCK_TOKEN/,
  ],
  [
    'page token',
    answered(400, 'ValidationException', 'bad', 'INVALID_PAGE_TOKEN'),
    'invalid-page-token',
    false,
    /INVALID_PAGE_TOKEN/,
  ],
  [
    'unrelated',
    answered(400, 'ValidationException', 'bad', 'UNRELATED_SNAPSHOTS'),
    'unrelated-snapshots',
    false,
    /^Cannot compare snap-1 with snap-2: bad.*one lineage/,
    { operation: EbsOperation.ListChangedBlocks, snapshotId: 'snap-2', otherSnapshotId: 'snap-1' },
  ],
  [
    'short upload',
    answered(400, 'ValidationException', 'Failed to read block data', 'INVALID_PARAMETER_VALUE'),
    'incomplete-upload',
    true,
    /Failed to read block data/,
    PUT,
  ],
  [
    'write time-out of the service',
    answered(400, 'ValidationException', 'slow', 'WRITE_REQUEST_TIMEOUT'),
    'invalid-request',
    false,
    /WRITE_REQUEST_TIMEOUT/,
    PUT,
  ],
  [
    'framework error',
    answered(400, 'ValidationException', '1 validation error detected'),
    'invalid-request',
    false,
    /1 validation error detected\.$/,
  ],
  ['server', answered(500, 'InternalServerException', 'oops'), 'server', true, /status 500 \("oops"\)/],
  [
    'a proxy in front',
    Object.assign(new SyntaxError('Unexpected token <'), { $response: { statusCode: 502 } }),
    'server',
    true,
    /status 502/,
  ],
  [
    'no JSON',
    Object.assign(new SyntaxError('Unexpected token <'), { $response: { statusCode: 200 } }),
    'malformed-answer',
    true,
    /cannot be read/,
  ],
  [
    'another server',
    answered(404, 'Unknown'),
    'malformed-answer',
    false,
    /the answer from https:.* \(status 404\) cannot be read.* --endpoint-url/,
  ],
  [
    'no HTTP',
    system('HPE_INVALID_CONSTANT', 'Parse Error: Expected HTTP/'),
    'malformed-answer',
    true,
    /--endpoint-url/,
  ],
  [
    'connection refused',
    system('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'),
    'network',
    true,
    /the connection to https:\/\/ebs\.eu-west-1\.amazonaws\.com failed \(connect ECONNREFUSED 127\.0\.0\.1:1\)\. Check the network/,
  ],
  [
    'refused on each address',
    Object.assign(new AggregateError([system('ECONNREFUSED', 'connect ECONNREFUSED ::1:1')]), {
      code: 'ECONNREFUSED',
    }),
    'network',
    true,
    /connect ECONNREFUSED ::1:1/,
  ],
  ['reset', system('ECONNRESET', 'aborted'), 'network', true, /aborted/],
  [
    'unknown host',
    system('ENOTFOUND', 'getaddrinfo ENOTFOUND ebs.eu-west-9.amazonaws.com'),
    'dns',
    true,
    /the host of .* cannot be found/,
  ],
  ['name server', system('EAI_AGAIN'), 'dns', true, /name server/],
  [
    'connect time-out',
    Object.assign(new Error('did not establish a connection'), { name: 'TimeoutError' }),
    'timeout',
    true,
    /no answer from https:.* in time/,
  ],
  [
    'certificate',
    system('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'),
    'tls',
    false,
    /NODE_EXTRA_CA_CERTS/,
  ],
  ['not TLS', system('EPROTO', 'wrong version number'), 'tls', false, /no trusted TLS connection/],
  ['a name on the certificate', system('ERR_TLS_CERT_ALTNAME_INVALID'), 'tls', false, /TLS/],
  [
    'anything else',
    new TypeError('a bug'),
    'unknown',
    false,
    /^Cannot read block 5 of snap-0123456789abcdef0: a bug\.$/,
  ],
  ['not even an error', 'text', 'unknown', false, /Error\.|text\./],
];

for (const [title, thrown, kind, retryable, message, subject = GET] of cases) {
  t.test(`[ebs: Errors] ${title}`, async (t) => {
    const error = toEbsError(thrown, subject);
    t.equal(error.kind, kind);
    t.equal(error.retryable, retryable);
    t.match(error.message, message);
    t.notMatch(error.message, /[\r\n]|\.\.|undefined/);
    t.equal(error.cause, thrown);
    t.ok(isEbsError(error, kind));
  });
}

t.test('each kind has a case, but for those that are found out elsewhere', async (t) => {
  const seen = new Set(cases.map(([, , kind]) => kind));
  const elsewhere = ['corrupt-block', 'contract-violation', 'cost-limit'];
  t.same(
    Object.values(EbsErrorKind).filter((kind) => !seen.has(kind)),
    elsewhere,
  );
});

t.test('an EbsError stays what it is', async (t) => {
  const error = new EbsError('Cannot.', { kind: 'server' });
  t.equal(toEbsError(error, GET), error);
});

t.test('[ebs: Retry] a clock that the answer has corrected is tried again', async (t) => {
  const thrown = answered(403, 'RequestTimeTooSkewed', 'too far off');
  Object.assign(thrown, { $metadata: { httpStatusCode: 403, clockSkewCorrected: true } });
  t.match(toEbsError(thrown, GET), { kind: 'clock-skew', retryable: true });
});

t.test('what the service says is kept to one line of bounded length', async (t) => {
  const error = toEbsError(answered(403, 'AccessDeniedException', `a\n b\r\n${'c'.repeat(5000)}`), GET);
  t.notMatch(error.message, /\n/);
  t.ok(error.message.length < 1000);
  t.ok(toEbsError(answered(400, 'ValidationException', 'd'.repeat(5000)), GET).message.length < 1000);
});
