// What the SDK cannot be made to send. [ebs: Wire format] [ebs: Errors]
import { connect } from 'node:net';
import t from 'tap';
import { AUTHORIZATION, emulatorFor, rawRequest, sha256, type RawAnswer } from '../fixtures/ebs-emulator.js';
import { complete, listAll, makeSnapshot, startSnapshot } from '../fixtures/ebs-calls.js';
import { seededBytes } from '../fixtures/seeded.js';

const UNKNOWN = 'snap-0123456789abcdef0';

/** Status, type, and whether the body has the service's or the framework's shape. */
function shapeOf(answer: RawAnswer): object {
  const { status, headers } = answer;
  const body = answer.json();
  return {
    status,
    type: String(headers['x-amzn-errortype']).split(':')[0],
    requestId: typeof headers['x-amzn-requestid'],
    ...('Message' in body ? { Reason: body.Reason } : { message: body.message }),
  };
}

t.test('[ebs: Wire format / SigV4] requests must be signed, in form', async (t) => {
  const { url } = await emulatorFor(t);
  const path = `/snapshots/${UNKNOWN}/blocks?maxResults=100`;
  const tries: [string, Record<string, string | undefined>, string][] = [
    ['no header', { authorization: undefined }, 'MissingAuthenticationTokenException'],
    ['empty header', { authorization: '' }, 'MissingAuthenticationTokenException'],
    ['basic', { authorization: 'Basic eDp5' }, 'IncompleteSignatureException'],
    [
      'no signature',
      { authorization: AUTHORIZATION.replace(/, Signature=.*/, '') },
      'IncompleteSignatureException',
    ],
    ['no date', { 'x-amz-date': undefined }, 'IncompleteSignatureException'],
    [
      'short scope',
      { authorization: AUTHORIZATION.replace('AKIAEMULATOR/', '') },
      'IncompleteSignatureException',
    ],
    ['other service', { authorization: AUTHORIZATION.replace('/ebs/', '/s3/') }, 'InvalidSignatureException'],
  ];
  for (const [what, headers, type] of tries) {
    const answer = await rawRequest(url, 'GET', path, headers);
    t.match(shapeOf(answer), { status: 403, type, message: String }, what);
  }
  t.equal((await rawRequest(url, 'GET', path)).status, 404, 'a signature of zeros will do');
  const date = { 'x-amz-date': undefined, date: new Date(0).toUTCString() };
  t.equal((await rawRequest(url, 'GET', path, date)).status, 404, 'the date may stand in either header');
});

t.test('[ebs: Errors / service] Message, Reason and the type in a header', async (t) => {
  const { url } = await emulatorFor(t);
  const answer = await rawRequest(url, 'GET', `/snapshots/${UNKNOWN}/blocks`);
  t.strictSame(shapeOf(answer), {
    status: 404,
    type: 'ResourceNotFoundException',
    requestId: 'string',
    Reason: 'SNAPSHOT_NOT_FOUND',
  });
  t.match(answer.headers['x-amzn-errortype'], /^ResourceNotFoundException:http:\/\//);
  t.equal(answer.headers['content-type'], 'application/json');
});

t.test('[ebs: Errors / framework] fields out of their range', async (t) => {
  const { url, client } = await emulatorFor(t);
  const snapshotId = await makeSnapshot(client, new Map());
  const constraint = (value: string, field: string, rule: string): string =>
    `1 validation error detected: Value ${value} at '${field}' failed to satisfy constraint: Member must ${rule}`;
  const tries: [string, string][] = [
    ['blocks?maxResults=99', constraint("'99'", 'maxResults', 'have value greater than or equal to 100')],
    [
      'blocks?maxResults=10001',
      constraint("'10001'", 'maxResults', 'have value less than or equal to 10000'),
    ],
    [
      'blocks?startingBlockIndex=-1',
      constraint("'-1'", 'startingBlockIndex', 'have value greater than or equal to 0'),
    ],
    ['blocks/-1?blockToken=AAAA', constraint("'-1'", 'blockIndex', 'have value greater than or equal to 0')],
    ['blocks/0', constraint('null', 'blockToken', 'not be null')],
    ['changedblocks', constraint('null', 'firstSnapshotId', 'not be null')],
  ];
  for (const [path, message] of tries) {
    const answer = await rawRequest(url, 'GET', `/snapshots/${snapshotId}/${path}`);
    t.match(shapeOf(answer), { status: 400, type: 'ValidationException', message }, path);
    t.notOk('Reason' in answer.json());
  }
  const several = await rawRequest(url, 'GET', '/snapshots/x/blocks?maxResults=1&pageToken=%21');
  t.match(
    several.json().message,
    /^3 validation errors detected: .*snapshotId.*; .*maxResults.*; .*pageToken/,
  );
  const notNumbers = await rawRequest(url, 'GET', `/snapshots/${snapshotId}/blocks?maxResults=ten`);
  t.match(shapeOf(notNumbers), { status: 400, type: 'SerializationException' });
});

t.test('unknown paths and methods', async (t) => {
  const { url } = await emulatorFor(t);
  const tries = [
    ['GET', '/snapshot'],
    ['DELETE', `/snapshots/${UNKNOWN}`],
    ['POST', `/snapshots/${UNKNOWN}/blocks/1`],
    ['GET', '/snapshots'],
  ] as const;
  for (const [method, path] of tries) {
    const answer = await rawRequest(url, method, path);
    t.match(shapeOf(answer), { status: 404, type: 'UnknownOperationException' }, `${method} ${path}`);
  }
  t.equal((await rawRequest(url, 'GET', '/snapshots/%zz/blocks')).status, 400, 'escapes that are none');
});

function putHeaders(bytes: Buffer): Record<string, string> {
  return {
    'x-amz-data-length': '524288',
    'x-amz-checksum': sha256(bytes),
    'x-amz-checksum-algorithm': 'SHA256',
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
  };
}

t.test('[ebs: PutSnapshotBlock] lengths, checksums and encodings', async (t) => {
  const { url, client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  const bytes = seededBytes('block', 524_288);
  const path = `/snapshots/${snapshotId}/blocks/3`;
  const headers = putHeaders(bytes);
  const tries: [string, Record<string, string | undefined>, Buffer, object][] = [
    ['short', {}, bytes.subarray(0, 1000), { status: 400, Reason: 'INVALID_PARAMETER_VALUE' }],
    ['empty', {}, Buffer.alloc(0), { status: 400, Reason: 'INVALID_PARAMETER_VALUE' }],
    ['long', {}, Buffer.concat([bytes, Buffer.alloc(1)]), { status: 400, Reason: 'INVALID_BLOCK' }],
    ['declared otherwise', { 'x-amz-data-length': '4096' }, bytes, { status: 400, Reason: 'INVALID_BLOCK' }],
    ['other bytes', {}, Buffer.alloc(524_288), { status: 403, type: 'InvalidSignatureException' }],
    ['encoded', { 'content-encoding': 'gzip' }, bytes, { status: 400, Reason: 'INVALID_CONTENT_ENCODING' }],
    ['no length', { 'x-amz-data-length': undefined }, bytes, { status: 400, message: /dataLength/ }],
    ['no checksum', { 'x-amz-checksum': undefined }, bytes, { status: 400, message: /checksum/ }],
    [
      'algorithm',
      { 'x-amz-checksum-algorithm': 'MD5' },
      bytes,
      { status: 400, message: /enum value set: \[SHA256\]/ },
    ],
    ['progress', { 'x-amz-progress': '101' }, bytes, { status: 400, message: /progress/ }],
  ];
  for (const [what, other, body, expected] of tries)
    t.match(shapeOf(await rawRequest(url, 'PUT', path, { ...headers, ...other }, body)), expected, what);
  const short = await rawRequest(url, 'PUT', path, headers, bytes.subarray(1));
  t.equal(short.json().Message, 'Failed to read block data');
  const answer = await rawRequest(url, 'PUT', path, { ...headers, 'x-amz-progress': '100' }, bytes);
  t.equal(answer.status, 201);
  t.strictSame(answer.json(), {});
  t.equal(answer.headers['x-amz-checksum'], sha256(bytes));
  t.equal(answer.headers['x-amz-checksum-algorithm'], 'SHA256');
  t.equal(await complete(client, snapshotId, 1), 'completed', 'nothing but that was stored');
});

t.test('[ebs: PutSnapshotBlock] chunked bodies, and Expect: 100-continue', async (t) => {
  const { url, client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  const bytes = seededBytes('block', 524_288);
  const chunked = { ...putHeaders(bytes), 'transfer-encoding': 'chunked' };
  t.equal((await rawRequest(url, 'PUT', `/snapshots/${snapshotId}/blocks/0`, chunked, bytes)).status, 201);
  const expecting = { ...putHeaders(bytes), expect: '100-continue', 'content-length': '524288' };
  t.equal((await rawRequest(url, 'PUT', `/snapshots/${snapshotId}/blocks/1`, expecting, bytes)).status, 201);
});

t.test('a body without end is refused in bounded memory', async (t) => {
  const { url, client, stats } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  const { hostname, port } = new URL(url);
  for (const path of [
    `PUT /snapshots/${snapshotId}/blocks/0`,
    'POST /snapshots',
    `PUT /snapshots/${UNKNOWN}/blocks/0`,
  ]) {
    const socket = connect(Number(port), hostname);
    const lines = {
      host: 'x',
      authorization: AUTHORIZATION,
      'x-amz-date': 'x',
      'transfer-encoding': 'chunked',
      ...putHeaders(Buffer.alloc(524_288)),
    };
    socket.write(
      `${path} HTTP/1.1\r\n${Object.entries(lines)
        .map(([k, v]) => `${k}: ${v}\r\n`)
        .join('')}\r\n`,
    );
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')]);
    let sentBytes = 0;
    const pump = (): void => {
      while (!socket.destroyed && sentBytes < 64 * 1024 * 1024) {
        sentBytes += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    let answer = '';
    socket.setEncoding('latin1').on('data', (part: string) => (answer += part));
    socket.on('error', () => undefined).on('drain', pump);
    pump();
    await new Promise((resolve) => socket.once('close', resolve));
    t.match(answer, /^HTTP\/1.1 4(?:00|04|13) /, path);
    t.ok(sentBytes < 64 * 1024 * 1024, 'cut off');
  }
  t.ok(stats().bytesIn < 8 * 1024 * 1024);
});

t.test('clients that leave early leave nothing behind', async (t) => {
  const { url, client, stats } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  const { hostname, port } = new URL(url);
  const head = `PUT /snapshots/${snapshotId}/blocks/0 HTTP/1.1\r\nhost: x\r\nauthorization: ${AUTHORIZATION}\r\nx-amz-date: x\r\n`;
  const headers = Object.entries(putHeaders(Buffer.alloc(524_288))).map(([k, v]) => `${k}: ${v}\r\n`);
  for (const sent of [head, `${head}${headers.join('')}content-length: 524288\r\n\r\nabc`]) {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => socket.write(sent, () => resolve()));
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
  }
  t.equal(await complete(client, snapshotId, 0), 'completed');
  t.equal(stats().operations.PutSnapshotBlock.inFlight, 0);
  const garbage = connect(Number(port), hostname);
  garbage.on('error', () => undefined).write('\x16\x03\x01\r\n\r\n');
  await new Promise((resolve) => garbage.resume().once('close', resolve));
  t.strictSame([...(await listAll(client, snapshotId)).tokens], []);
});
