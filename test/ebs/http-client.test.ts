// The client that moves blocks by itself, held against the one that goes through the SDK all the way.
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { AwsClientOptions } from '../../src/ebs/aws-client.js';
import { EbsError } from '../../src/ebs/errors.js';
import { createHttpSnapshotApi } from '../../src/ebs/http-client.js';
import { createSdkSnapshotApi } from '../../src/ebs/sdk-client.js';
import type { SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { patternBlock } from '../fixtures/fake-snapshot.js';

const SNAPSHOT = 'snap-0123456789abcdef0';
const GET = { snapshotId: SNAPSHOT, blockIndex: 7, blockToken: "a+token/='!*()" };
const BLOCK = patternBlock(7);
const CHECKSUM = createHash('sha256').update(BLOCK).digest('base64');
const PUT = { snapshotId: SNAPSHOT, blockIndex: 7, bytes: BLOCK, checksum: CHECKSUM, progressPercent: 50 };
const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' };
const OPTIONS = { region: 'us-east-1', credentials: CREDENTIALS, inFlightMax: 4 };
const CLIENTS = [createSdkSnapshotApi, createHttpSnapshotApi] as const;

interface Seen {
  /** Method, path, headers and body, as they came. */
  readonly head: string;
  readonly body: Buffer;
}

/** What the server does with the n-th request of a connection: sends pieces, one after another, then may end it. */
type Script = (
  seen: Seen,
  requestNumber: number,
) => { readonly pieces: readonly Buffer[]; readonly end?: 'fin' | 'reset' };

interface RawServer {
  readonly port: number;
  readonly url: string;
  readonly requests: Seen[];
  connectionCount: number;
  script: Script;
}

/** A server whose every byte is the test's. */
async function rawServer(t: Test, script: Script): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    raw.connectionCount += 1;
    let bytes = Buffer.alloc(0);
    let requestNumber = 0;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        const headEnd = bytes.indexOf('\r\n\r\n');
        if (headEnd < 0) return;
        const head = bytes.toString('latin1', 0, headEnd);
        const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
        if (bytes.length < headEnd + 4 + length) return;
        const seen = { head, body: bytes.subarray(headEnd + 4, headEnd + 4 + length) };
        bytes = bytes.subarray(headEnd + 4 + length);
        raw.requests.push(seen);
        requestNumber += 1;
        void play(socket, raw.script(seen, requestNumber));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const raw: RawServer = { port, url: `http://127.0.0.1:${port}`, requests: [], connectionCount: 0, script };
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return raw;
}

async function play(socket: Socket, { pieces, end }: ReturnType<Script>): Promise<void> {
  for (const piece of pieces) await new Promise((resolve) => socket.write(piece, resolve));
  if (end === 'fin') socket.end();
  if (end === 'reset') socket.resetAndDestroy();
}

async function connect(
  t: Test,
  create: (typeof CLIENTS)[number],
  url: string,
  options: Partial<AwsClientOptions> = {},
): Promise<SnapshotApi> {
  const api = await create({ ...OPTIONS, endpointUrl: url, ...options });
  t.teardown(() => api.close());
  return api;
}

function answer(
  status: number,
  headers: Record<string, string | number>,
  body: Buffer | string = '',
): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} Word\r\n${lines.join('')}\r\n`), Buffer.from(body)]);
}

const BLOCK_HEADERS = {
  'Content-Type': 'application/octet-stream',
  'x-amz-Data-Length': 524_288,
  'x-amz-Checksum': CHECKSUM,
  'x-amz-Checksum-Algorithm': 'SHA256',
};

function blockAnswer(headers: Record<string, string | number> = {}, body: Buffer = BLOCK): Buffer {
  return answer(200, { 'Content-Length': body.length, ...BLOCK_HEADERS, ...headers }, body);
}

function chunked(body: Buffer, chunkBytes: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; at += chunkBytes) {
    const piece = body.subarray(at, at + chunkBytes);
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}

function serviceError(
  status: number,
  name: string,
  body: object | string,
  more: Record<string, string> = {},
): Buffer {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const headers = {
    'x-amzn-ErrorType': `${name}:http://internal.amazon.com/coral/com.amazonaws.ebs/`,
    'x-amzn-RequestId': 'request-1',
    'content-type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  };
  return answer(status, { ...headers, ...more }, text);
}

/** What a caller can tell of the outcome of a call. */
async function outcomeOf(call: Promise<unknown>): Promise<object> {
  try {
    const value = await call;
    if (value === undefined) return { done: true };
    const { bytes, ...rest } = value as { bytes: Buffer };
    return { ...rest, sum: createHash('sha256').update(bytes).digest('hex'), lengthBytes: bytes.length };
  } catch (error) {
    if (!(error instanceof EbsError)) throw error;
    const { kind, retryable, throttled, operation, status, serviceError, reason, requestId, message } = error;
    // A connection that ends before an answer is a time-out to the SDK; here it is what it is. Both are tried again.
    if (kind === 'network' || kind === 'timeout') return { kind: 'network', retryable, throttled, operation };
    const about = { kind, retryable, throttled, operation, status, serviceError, reason, requestId };
    // What is not HTTP has the words of its parser.
    return status === undefined ? about : { ...about, message };
  }
}

const now = new Date().toUTCString();
const validation = (Reason: string): Buffer =>
  serviceError(400, 'ValidationException', { Message: `Not so: ${Reason}.`, Reason });

/** Every answer that the service, something in front of it, or the network may give. */
const ANSWERS: Readonly<Record<string, ReturnType<Script>>> = {
  'a block': { pieces: [blockAnswer()] },
  'a block in pieces': { pieces: [blockAnswer().subarray(0, 300), blockAnswer().subarray(300)] },
  'a block in chunks': {
    pieces: [answer(200, { 'Transfer-Encoding': 'chunked', ...BLOCK_HEADERS }, chunked(BLOCK, 70_000))],
  },
  'a block up to the end of the connection': { pieces: [answer(200, BLOCK_HEADERS, BLOCK)], end: 'fin' },
  'a block, and the connection ends': { pieces: [blockAnswer({ Connection: 'close' })], end: 'fin' },
  'a block with status 206': {
    pieces: [answer(206, { 'Content-Length': 524_288, ...BLOCK_HEADERS }, BLOCK)],
  },
  'a short block': { pieces: [blockAnswer({}, BLOCK.subarray(0, 1000))] },
  'an empty block': { pieces: [blockAnswer({}, BLOCK.subarray(0, 0))] },
  'a long block': { pieces: [blockAnswer({}, Buffer.alloc(524_289))] },
  'a long block in chunks': {
    pieces: [
      answer(
        200,
        { 'Transfer-Encoding': 'chunked', ...BLOCK_HEADERS },
        chunked(Buffer.alloc(600_000), 50_000),
      ),
    ],
  },
  'a length beyond all': { pieces: [answer(200, { ...BLOCK_HEADERS, 'Content-Length': 17 * 1024 * 1024 })] },
  'a block without its headers': { pieces: [answer(200, { 'Content-Length': 524_288 }, BLOCK)] },
  'a block with another length declared': { pieces: [blockAnswer({ 'x-amz-Data-Length': 5 })] },
  'a block with a length that is no number': { pieces: [blockAnswer({ 'x-amz-Data-Length': 'many' })] },
  'a block with an empty checksum': { pieces: [blockAnswer({ 'x-amz-Checksum': '' })] },
  '201 with JSON': { pieces: [answer(201, { 'Content-Length': 2, 'x-amz-Checksum': CHECKSUM }, '{}')] },
  '204': { pieces: [answer(204, {})] },
  'a block cut in the middle': { pieces: [blockAnswer().subarray(0, 200_000)], end: 'fin' },
  'a block reset in the middle': { pieces: [blockAnswer().subarray(0, 200_000)], end: 'reset' },
  'chunks cut in the middle': {
    pieces: [answer(200, { 'Transfer-Encoding': 'chunked' }, chunked(BLOCK, 70_000).subarray(0, 200_000))],
    end: 'fin',
  },
  'nothing, and the end': { pieces: [], end: 'fin' },
  'nothing, and a reset': { pieces: [], end: 'reset' },
  'half a head': { pieces: [blockAnswer().subarray(0, 30)], end: 'fin' },
  'not HTTP': { pieces: [Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')], end: 'fin' },
  'a page of HTML': {
    pieces: [answer(200, { 'Content-Length': 15, 'Content-Type': 'text/html' }, '<html>hi</html>')],
  },
  'a throttled account': {
    pieces: [
      serviceError(400, 'ThrottlingException', { Message: 'Rate exceeded', Reason: 'ACCOUNT_THROTTLED' }),
    ],
  },
  'a throttled snapshot': {
    pieces: [
      serviceError(400, 'RequestThrottledException', { Message: 'Slow', Reason: 'RESOURCE_LEVEL_THROTTLE' }),
    ],
  },
  'the other shape': {
    pieces: [serviceError(400, 'ValidationException', { message: '1 validation error' })],
  },
  'a bad block token': { pieces: [validation('INVALID_BLOCK_TOKEN')] },
  'a bad snapshot': { pieces: [validation('INVALID_SNAPSHOT_ID')] },
  'a short upload': {
    pieces: [
      serviceError(400, 'ValidationException', {
        Message: 'Failed to read block data',
        Reason: 'INVALID_PARAMETER_VALUE',
      }),
    ],
  },
  'not found': {
    pieces: [
      serviceError(404, 'ResourceNotFoundException', { Message: 'None.', Reason: 'SNAPSHOT_NOT_FOUND' }),
    ],
  },
  'access denied': {
    pieces: [serviceError(403, 'AccessDeniedException', { Message: 'No.', Reason: 'UNAUTHORIZED_ACCOUNT' })],
  },
  'a wrong signature': { pieces: [serviceError(403, 'InvalidSignatureException', { message: 'Differs.' })] },
  'a quota': { pieces: [serviceError(402, 'ServiceQuotaExceededException', { Message: 'Enough.' })] },
  'a conflict': { pieces: [serviceError(409, 'ConflictException', { Message: 'Twice.' })] },
  'an internal error': { pieces: [serviceError(500, 'InternalServerException', { Message: 'Oops' })] },
  '503 of a balancer': {
    pieces: [answer(503, { 'Content-Type': 'text/html', 'Content-Length': 15 }, '<html>no</html>')],
  },
  '503 without a body': { pieces: [answer(503, { 'Content-Length': 0 })] },
  '500 up to the end': { pieces: [answer(500, {}, 'Oops')], end: 'fin' },
  '500 in chunks': {
    pieces: [answer(500, { 'Transfer-Encoding': 'chunked' }, chunked(Buffer.from('{"a":1}'), 2))],
  },
  '429': { pieces: [answer(429, { 'Content-Length': 0 })] },
  '408': { pieces: [answer(408, { 'Content-Length': 0 })] },
  '404 of somebody else': { pieces: [answer(404, { 'Content-Length': 9 }, 'Not found')] },
  '400 without a body': { pieces: [answer(400, { 'Content-Length': 0 })] },
  '401': { pieces: [answer(401, { 'Content-Length': 0 })] },
  'JSON that breaks off': { pieces: [serviceError(400, 'ValidationException', '{"Message": "No')] },
  'another region': {
    pieces: [answer(301, { 'Content-Length': 0, Location: 'https://ebs.eu-west-1.amazonaws.com/' })],
  },
  'not modified': { pieces: [answer(304, {})] },
  'expired credentials': {
    pieces: [serviceError(403, 'ExpiredTokenException', { message: 'It is expired' })],
  },
  'a wrong clock': {
    pieces: [
      serviceError(
        403,
        'InvalidSignatureException',
        { message: 'Signature expired: 20200101T000000Z is now earlier than' },
        { Date: new Date(Date.now() + 3_600_000).toUTCString() },
      ),
    ],
  },
  'a right clock that is called wrong': {
    pieces: [serviceError(403, 'RequestTimeTooSkewed', { message: 'Skewed.' }, { Date: now })],
  },
};

t.test('[ebs: Errors] every answer ends as it does through the SDK', async (t) => {
  const server = await rawServer(t, () => ({ pieces: [] }));
  for (const [name, script] of Object.entries(ANSWERS)) {
    server.script = () => script;
    const outcomes: Record<string, object[]> = { get: [], put: [] };
    for (const create of CLIENTS) {
      // One of its own each time, as the SDK learns the service's time from answers.
      const api = await create({ ...OPTIONS, endpointUrl: server.url });
      outcomes.get!.push(await outcomeOf(api.getSnapshotBlock(GET)));
      outcomes.put!.push(await outcomeOf(api.putSnapshotBlock(PUT)));
      api.close();
    }
    for (const operation of ['get', 'put']) {
      const [reference, own] = outcomes[operation]!;
      t.strictSame(own, reference, `${operation}: ${name}: ${JSON.stringify(reference).slice(0, 70)}`);
    }
  }
});

t.test('[SigV4] the same signature as the SDK makes, over what is sent', async (t) => {
  const server = await rawServer(t, () => ({ pieces: [blockAnswer()] }));
  const credentials = { ...CREDENTIALS, sessionToken: 'a+session/token==' };
  const signed: Record<string, string>[] = [];
  for (const create of CLIENTS) {
    const api = await connect(t, create, `${server.url}/base/path`, { credentials });
    await api.getSnapshotBlock(GET);
    await api.putSnapshotBlock(PUT);
  }
  for (const { head } of server.requests) signed.push(headersOf(head));
  const [sdkGet, sdkPut, ownGet, ownPut] = signed;
  const lines = server.requests.map(({ head }) => head.split('\r\n')[0]!);
  t.equal(lines[2], lines[0], 'the same path and query');
  t.equal(lines[3], lines[1], 'the same path');
  for (const [sdk, own] of [
    [sdkGet!, ownGet!],
    [sdkPut!, ownPut!],
  ] as const) {
    for (const name of Object.keys(own)) {
      if (['authorization', 'x-amz-date'].includes(name)) continue;
      t.equal(own[name], sdk[name], name);
    }
    // The SDK numbers its calls and tries, and names itself twice.
    const more = Object.keys(sdk).filter((name) => !(name in own));
    t.strictSame(more.sort(), ['amz-sdk-invocation-id', 'amz-sdk-request', 'connection', 'x-amz-user-agent']);
  }
  for (const [index, { head, body }] of server.requests.entries()) {
    t.equal(
      signatureOf(head, credentials.secretAccessKey),
      /Signature=(\w+)/.exec(head)?.[1],
      `request ${index}`,
    );
    const hash = createHash('sha256').update(body).digest('hex');
    t.equal(headersOf(head)['x-amz-content-sha256'], hash);
  }
});

function headersOf(head: string): Record<string, string> {
  const lines = head.split('\r\n').slice(1);
  return Object.fromEntries(
    lines.map((line) => [line.split(':', 1)[0]!.toLowerCase(), line.replace(/^[^:]*: */, '')]),
  );
}

/** The signature that a request must have, by the book. [SigV4] */
function signatureOf(head: string, secret: string): string {
  const headers = headersOf(head);
  const [method, target] = head.split(' ') as [string, string];
  const [path, query = ''] = target.split('?') as [string, string?];
  const scope = /Credential=[^/]*\/([^,]*)/.exec(headers.authorization!)![1]!;
  const names = /SignedHeaders=([^,]*)/.exec(headers.authorization!)![1]!;
  const canonical = [
    method,
    // Each byte of the path is encoded once more.
    path.split('/').map(encodeURIComponent).join('/'),
    query,
    ...names.split(';').map((name) => `${name}:${headers[name]!}`),
    '',
    names,
    headers['x-amz-content-sha256']!,
  ].join('\n');
  const hash = createHash('sha256').update(canonical).digest('hex');
  let key: string | Buffer = `AWS4${secret}`;
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date']!, scope, hash].join('\n');
  return createHmac('sha256', key).update(text).digest('hex');
}

t.test('[RFC 9112: 9.3] connections are kept, and found to be gone by using them', async (t) => {
  const server = await rawServer(t, () => ({ pieces: [blockAnswer()] }));
  const api = await connect(t, createHttpSnapshotApi, server.url);
  for (let round = 0; round < 4; round += 1) {
    await Promise.all(Array.from({ length: 8 }, () => api.getSnapshotBlock(GET)));
  }
  t.equal(server.requests.length, 32);
  t.equal(server.connectionCount, 8, 'as many as there were calls at once');

  for (const end of ['fin', 'reset'] as const) {
    // The second request of a connection meets its end.
    const before = server.connectionCount;
    server.script = (_seen, number) => (number === 1 ? { pieces: [blockAnswer()] } : { pieces: [], end });
    for (let round = 0; round < 5; round += 1) {
      const { bytes } = await api.getSnapshotBlock(GET);
      t.ok(bytes.equals(BLOCK), `${end}: made again at once`);
      await api.putSnapshotBlock(PUT);
    }
    t.ok(server.connectionCount > before, 'on other connections');
    server.script = () => ({ pieces: [], end });
    const error = await api.getSnapshotBlock(GET).catch((thrown: unknown) => thrown as EbsError);
    t.match(error, { kind: 'network', retryable: true }, `${end}: not on a new one`);
  }
  server.script = (_seen, number) =>
    number === 1 ? { pieces: [blockAnswer()] } : { pieces: [blockAnswer().subarray(0, 100)], end: 'reset' };
  const fresh = await connect(t, createHttpSnapshotApi, server.url);
  await fresh.getSnapshotBlock(GET);
  const error = await fresh.getSnapshotBlock(GET).catch((thrown: unknown) => thrown as EbsError);
  t.match(error, { kind: 'network' }, 'nor when something of the answer had come');
});

t.test('what comes behind an answer is never taken for the next one', async (t) => {
  const wrong = blockAnswer({ 'x-amz-Checksum': 'wrong' });
  const server = await rawServer(t, () => ({ pieces: [Buffer.concat([blockAnswer(), wrong])] }));
  const api = await connect(t, createHttpSnapshotApi, server.url);
  for (let round = 0; round < 5; round += 1) {
    const received = await api.getSnapshotBlock(GET);
    t.equal(received.checksum, CHECKSUM);
    t.ok(received.bytes.equals(BLOCK));
  }
});

t.test('time-outs and aborts cut the connection', async (t) => {
  for (const pieces of [[], [blockAnswer().subarray(0, 50)], [blockAnswer().subarray(0, 100_000)]]) {
    const server = await rawServer(t, () => ({ pieces }));
    const api = await connect(t, createHttpSnapshotApi, server.url, { requestTimeoutMs: 60 });
    const error = await api.getSnapshotBlock(GET).catch((thrown: unknown) => thrown as EbsError);
    t.match(error, { kind: 'timeout', message: /no complete answer from http:.* within 60 ms/ });
    const reason = new Error('nobody waits any more');
    const controller = new AbortController();
    server.script = () => {
      controller.abort(reason);
      return { pieces };
    };
    await t.rejects(api.putSnapshotBlock(PUT, { signal: controller.signal }), reason);
    await t.rejects(
      api.getSnapshotBlock(GET, { signal: AbortSignal.abort(reason) }),
      reason,
      'before it began',
    );
    server.script = () => ({ pieces: [blockAnswer()] });
    t.ok((await api.getSnapshotBlock(GET)).bytes.equals(BLOCK), 'and the next call is another');
  }
});

t.test('nobody listens, or somebody who says something first', async (t) => {
  const server = createServer((socket) =>
    socket
      .on('error', () => undefined)
      .resume()
      .write('220 mail ready\r\n'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const api = await connect(t, createHttpSnapshotApi, `http://127.0.0.1:${port}`);
  t.match(await api.getSnapshotBlock(GET).catch((thrown: unknown) => thrown), { kind: 'malformed-answer' });
  api.close();
  server.close();
  await once(server, 'close');
  const error = await api.getSnapshotBlock(GET).catch((thrown: unknown) => thrown as EbsError);
  t.match(error, { kind: 'network', message: /connect ECONNREFUSED 127\.0\.0\.1/ });
});
