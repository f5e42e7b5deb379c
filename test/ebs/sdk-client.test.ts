import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import t from 'tap';
import { createSdkSnapshotApi } from '../../src/ebs/sdk-client.js';
import { patternBlock } from '../fixtures/fake-snapshot.js';
import { serviceError } from '../fixtures/http-service.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { connect, CREDENTIALS, errorOf, json, LIST, type Answer } from '../fixtures/sdk-service.js';

const SNAPSHOT = LIST.snapshotId;
const GET = { snapshotId: SNAPSHOT, blockIndex: 7, blockToken: 'a+token/=' };

t.test('[ebs: ListSnapshotBlocks] request and answer', async (t) => {
  const { service, api } = await connect(t, (request, response) => {
    t.match(
      request.headers.authorization,
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d+\/us-east-1\/ebs\/aws4_request/,
    );
    json(response, 200, {
      BlockSize: 524_288,
      Blocks: [
        { BlockIndex: 0, BlockToken: 'one' },
        { BlockIndex: 70_000, BlockToken: 'two' },
      ],
      ExpiryTime: 1_750_000_000.5,
      NextToken: null,
      VolumeSize: 65_536,
    });
  });
  const page = await api.listSnapshotBlocks({ ...LIST, startingBlockIndex: 12 });
  t.same(page, {
    blocks: [
      { blockIndex: 0, blockToken: 'one' },
      { blockIndex: 70_000, blockToken: 'two' },
    ],
    expiryMs: 1_750_000_000_500,
    nextToken: undefined,
    volumeSizeGib: 65_536,
  });
  await api.listSnapshotBlocks({ ...LIST, startingBlockIndex: 12, pageToken: 'next' });
  t.same(
    service.requests.map((line) => new URL(line.slice(4), service.url).searchParams.toString()),
    ['maxResults=100&startingBlockIndex=12', 'maxResults=100&pageToken=next'],
  );
});

t.test('[ebs: ListChangedBlocks] request and answer', async (t) => {
  const { service, api } = await connect(t, (_request, response) =>
    json(response, 200, {
      BlockSize: 524_288,
      ChangedBlocks: [
        { BlockIndex: 1, FirstBlockToken: 'f', SecondBlockToken: null },
        { BlockIndex: 2, FirstBlockToken: null, SecondBlockToken: 's' },
      ],
      ExpiryTime: 1_750_000_000,
      NextToken: 'more',
      VolumeSize: 1,
    }),
  );
  const ids = { firstSnapshotId: 'snap-0123456789abcdef1', secondSnapshotId: SNAPSHOT };
  const page = await api.listChangedBlocks({ ...ids, resultsMax: 10_000 });
  t.same(page.blocks, [
    { blockIndex: 1, firstBlockToken: 'f', secondBlockToken: undefined },
    { blockIndex: 2, firstBlockToken: undefined, secondBlockToken: 's' },
  ]);
  t.equal(page.nextToken, 'more');
  t.match(
    service.requests[0],
    /^GET \/snapshots\/snap-0123456789abcdef0\/changedblocks\?.*firstSnapshotId=snap-0123456789abcdef1/,
  );
});

function sendBlock(
  response: ServerResponse,
  block: Buffer,
  headers: Record<string, string | number> = {},
): void {
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': block.length,
    'x-amz-Data-Length': block.length,
    'x-amz-Checksum': createHash('sha256').update(block).digest('base64'),
    'x-amz-Checksum-Algorithm': 'SHA256',
    ...headers,
  });
  response.end(block);
}

t.test('[ebs: GetSnapshotBlock] request and answer', async (t) => {
  const block = patternBlock(7);
  const { service, api } = await connect(t, (_request, response) => sendBlock(response, block));
  const received = await api.getSnapshotBlock(GET);
  t.ok(received.bytes.equals(block));
  t.equal(received.bytes.buffer.byteLength, 524_288, 'in a buffer of its own');
  t.equal(received.declaredLengthBytes, 524_288);
  t.equal(received.checksumAlgorithm, 'SHA256');
  t.equal(received.checksum, createHash('sha256').update(block).digest('base64'));
  t.same(service.requests, [`GET /snapshots/${SNAPSHOT}/blocks/7?blockToken=a%2Btoken%2F%3D`]);
});

t.test('[ebs: GetSnapshotBlock] a body of another length', async (t) => {
  let block = Buffer.alloc(100);
  const { api } = await connect(t, (_request, response) => sendBlock(response, block));
  t.equal((await api.getSnapshotBlock(GET)).bytes.length, 100, 'short: as it is, for verification to see');
  block = Buffer.alloc(524_289);
  const long = await errorOf(api.getSnapshotBlock(GET));
  t.equal(long.kind, 'corrupt-block');
  t.ok(long.retryable);
  t.match(long.message, `Cannot read block 7 of ${SNAPSHOT}: more than 524288 bytes arrived.`);
  block = Buffer.alloc(17 * 1024 * 1024);
  t.equal((await errorOf(api.getSnapshotBlock(GET))).kind, 'malformed-answer');
});

t.test('[ebs: GetSnapshotBlock] a connection that is cut in the middle', async (t) => {
  let chunked = false;
  const { api } = await connect(t, (_request, response) => {
    response.writeHead(200, chunked ? {} : { 'content-length': 524_288 });
    response.write(Buffer.alloc(100_000));
    setImmediate(() => response.destroy());
  });
  for (chunked of [false, true]) {
    const error = await errorOf(api.getSnapshotBlock(GET));
    t.equal(error.kind, 'network', error.message);
    t.match((await errorOf(api.listSnapshotBlocks(LIST))).kind, /network/);
  }
});

t.test('a body that stalls is given up like an answer that does not come', async (t) => {
  let mute = true;
  const stall: Answer = (_request, response) => {
    if (!mute) response.writeHead(200, { 'content-length': 524_288 }).write(Buffer.alloc(1000));
  };
  const { api } = await connect(t, stall, { requestTimeoutMs: 40 });
  for (mute of [true, false]) {
    const get = await errorOf(api.getSnapshotBlock(GET));
    t.equal(get.kind, 'timeout');
    t.match(
      get.message,
      /^Cannot read block 7 of snap-0123456789abcdef0: no complete answer from http:.* within 40 ms\./,
    );
    t.equal((await errorOf(api.listSnapshotBlocks(LIST))).kind, 'timeout');
  }
  t.match((await errorOf(api.listSnapshotBlocks(LIST, { timeoutMs: 7 }))).message, /within 7 ms/);
});

t.test('an abort ends the call with its own reason', async (t) => {
  const reason = new Error('nobody waits any more');
  const { api } = await connect(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 524_288 }).write(Buffer.alloc(1000));
    setImmediate(() => controller.abort(reason));
  });
  let controller = new AbortController();
  await t.rejects(api.getSnapshotBlock(GET, { signal: controller.signal }), reason);
  controller = new AbortController();
  await t.rejects(api.listSnapshotBlocks(LIST, { signal: controller.signal }), reason);
  await t.rejects(
    api.listSnapshotBlocks(LIST, { signal: AbortSignal.abort(reason) }),
    reason,
    'before it began',
  );
});

t.test(
  '[ebs: StartSnapshot] [ebs: PutSnapshotBlock] [ebs: CompleteSnapshot] requests and answers',
  async (t) => {
    const bodies: Buffer[] = [];
    const headers: IncomingMessage['headers'][] = [];
    const { service, api } = await connect(t, (request, response, body) => {
      bodies.push(body);
      headers.push(request.headers);
      if (request.method === 'PUT') json(response, 201, {});
      else if (request.url === '/snapshots') {
        const rest = { VolumeSize: 8, ParentSnapshotId: 'snap-0123456789abcdef1', KmsKeyArn: null };
        json(response, 201, { SnapshotId: SNAPSHOT, Status: 'pending', ...rest });
      } else json(response, 202, { Status: 'completed' });
    });
    const started = await api.startSnapshot({
      volumeSizeGib: 8,
      parentSnapshotId: 'snap-0123456789abcdef1',
      description: 'd',
      tags: { Name: 'n' },
      clientToken: 'c',
      timeoutMinutes: 10,
    });
    const parentSnapshotId = 'snap-0123456789abcdef1';
    t.same(started, {
      snapshotId: SNAPSHOT,
      status: 'pending',
      volumeSizeGib: 8,
      parentSnapshotId,
      kmsKeyArn: undefined,
    });
    t.same(JSON.parse(bodies[0]!.toString()), {
      VolumeSize: 8,
      ParentSnapshotId: 'snap-0123456789abcdef1',
      Description: 'd',
      Tags: [{ Key: 'Name', Value: 'n' }],
      ClientToken: 'c',
      Timeout: 10,
    });

    const bytes = patternBlock(3);
    const checksum = createHash('sha256').update(bytes).digest('base64');
    await api.putSnapshotBlock({ snapshotId: SNAPSHOT, blockIndex: 3, bytes, checksum, progressPercent: 50 });
    t.ok(bodies[1]!.equals(bytes));
    t.match(headers[1], {
      'x-amz-data-length': '524288',
      'x-amz-checksum': checksum,
      'x-amz-checksum-algorithm': 'SHA256',
      'x-amz-progress': '50',
    });

    t.equal(
      await api.completeSnapshot({ snapshotId: SNAPSHOT, changedBlocksCount: 1, checksum }),
      'completed',
    );
    t.match(headers[2], {
      'x-amz-changedblockscount': '1',
      'x-amz-checksum': checksum,
      'x-amz-checksum-aggregation-method': 'LINEAR',
    });
    await api.completeSnapshot({ snapshotId: SNAPSHOT, changedBlocksCount: 1 });
    t.equal(headers[3]!['x-amz-checksum'], undefined);
    t.same(service.requests, [
      'POST /snapshots',
      `PUT /snapshots/${SNAPSHOT}/blocks/3`,
      `POST /snapshots/completion/${SNAPSHOT}`,
      `POST /snapshots/completion/${SNAPSHOT}`,
    ]);
  },
);

t.test('[ebs: Errors] both shapes, with one request each', async (t) => {
  let answer: Answer = () => undefined;
  const { service, api } = await connect(t, (...call) => answer(...call));
  answer = (_request, response) =>
    serviceError(response, 404, 'ResourceNotFoundException', {
      Message: 'The snapshot does not exist.',
      Reason: 'SNAPSHOT_NOT_FOUND',
    });
  const missing = await errorOf(api.listSnapshotBlocks(LIST));
  t.match(missing, {
    kind: 'not-found',
    retryable: false,
    operation: 'ListSnapshotBlocks',
    status: 404,
    serviceError: 'ResourceNotFoundException',
    reason: 'SNAPSHOT_NOT_FOUND',
    requestId: 'request-1',
  });
  t.match(
    missing.message,
    /^Cannot list the blocks of snap-0123456789abcdef0: the service has no such snapshot/,
  );
  t.match(missing.message, /"The snapshot does not exist"\)\. Check the id and the region \(us-east-1\)/);

  const message = "1 validation error detected: Value '99' at 'maxResults' failed to satisfy constraint";
  answer = (_request, response) => serviceError(response, 400, 'ValidationException', { message });
  const invalid = await errorOf(api.listSnapshotBlocks(LIST));
  t.match(invalid, { kind: 'invalid-request', status: 400, reason: undefined });
  t.match(invalid.message, message);

  answer = (_request, response) =>
    serviceError(response, 500, 'InternalServerException', { Message: 'Oops' });
  t.match(await errorOf(api.getSnapshotBlock(GET)), { kind: 'server', retryable: true, status: 500 });
  t.equal(service.requests.length, 3, 'the SDK makes no second try');

  answer = (_request, response) =>
    response.writeHead(503, { 'content-type': 'text/html' }).end('<html>no</html>');
  t.match(await errorOf(api.getSnapshotBlock(GET)), { kind: 'server', retryable: true, status: 503 });
  answer = (_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>hi</html>');
  t.equal((await errorOf(api.listSnapshotBlocks(LIST))).kind, 'malformed-answer');
});

t.test('answers that are not of this API', async (t) => {
  let body: object = {};
  const { api } = await connect(t, (_request, response) => json(response, 200, body));
  const good = { BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] };
  const faults: [object, string, RegExp][] = [
    [{}, 'malformed-answer', /VolumeSize is missing/],
    [{ ...good, VolumeSize: 65_537 }, 'malformed-answer', /VolumeSize is 65537/],
    [{ ...good, VolumeSize: 1.5 }, 'malformed-answer', /VolumeSize/],
    [{ ...good, BlockSize: 4096 }, 'contract-violation', /blocks of 4096 bytes/],
    [{ ...good, Blocks: [{ BlockToken: 'a' }] }, 'malformed-answer', /BlockIndex is missing/],
    [{ ...good, Blocks: [{ BlockIndex: -1, BlockToken: 'a' }] }, 'malformed-answer', /BlockIndex is -1/],
    [{ ...good, Blocks: [{ BlockIndex: 1 }] }, 'malformed-answer', /no token/],
  ];
  for (const [answer, kind, message] of faults) {
    body = answer;
    const error = await errorOf(api.listSnapshotBlocks(LIST));
    t.equal(error.kind, kind);
    t.match(error.message, message);
  }
  body = {};
  t.match(
    (await errorOf(api.startSnapshot({ volumeSizeGib: 1, clientToken: 'c' }))).message,
    /no SnapshotId/,
  );
  t.match(
    (await errorOf(api.completeSnapshot({ snapshotId: SNAPSHOT, changedBlocksCount: 0 }))).message,
    /has the status ""/,
  );
});

t.test('connections are kept, one for each call that is under way', async (t) => {
  const block = patternBlock(1);
  const { service, api } = await connect(t, (_request, response) => sendBlock(response, block));
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(Array.from({ length: 8 }, () => api.getSnapshotBlock(GET)));
  }
  t.equal(service.requests.length, 40);
  t.equal(service.connections(), 8);
});

t.test('an endpoint where nobody listens', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const options = { region: 'us-east-1', credentials: CREDENTIALS, inFlightMax: 1 };
  const api = await createSdkSnapshotApi({ ...options, endpointUrl: `http://127.0.0.1:${port}` });
  const error = await errorOf(api.listSnapshotBlocks(LIST));
  t.match(error, { kind: 'network', retryable: true, status: undefined });
  t.match(
    error.message,
    `the connection to http://127.0.0.1:${port} failed (connect ECONNREFUSED 127.0.0.1:${port})`,
  );
  t.match(error.message, /Check the network, --endpoint-url and --region\.$/);
  api.close();
});

t.test('the advice about Node.js is one line, once, and other warnings stay', async (t) => {
  const log = new MemoryLog();
  const options = { region: 'us-east-1', credentials: CREDENTIALS, inFlightMax: 1, logger: log };
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  (await createSdkSnapshotApi(options)).close();
  process.emitWarning('another one');
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', onWarning);
  t.same(
    warnings.map((warning) => warning.message),
    ['another one'],
  );
  t.equal(process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED, undefined);
  t.ok(log.lines.length <= 1);
});
