// Moves all blocks of a snapshot with http.request and nothing around it: what the machine and the service leave to win.
// `get` reads them; `put` writes as many to a new snapshot and completes it; `copy` does both. With `--image` the blocks that
// are put are those of a file. Ends with a line of JSON.
import { createHash, randomBytes } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    endpoint: { type: 'string', default: '' },
    /** What is read; for `put` a snapshot that says how many blocks there are. */
    snapshot: { type: 'string', default: '' },
    what: { type: 'string', default: 'get' },
    /** With `put`, in place of a snapshot. */
    image: { type: 'string' },
    gib: { type: 'string', default: '1' },
    inflight: { type: 'string', default: '64' },
  },
});
const HEADERS = {
  authorization:
    'AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/ebs/aws4_request, SignedHeaders=host;x-amz-date, Signature=00',
  'x-amz-date': '20260101T000000Z',
};
const BLOCK_BYTES = 524_288;
const COMPLETE_POLL_MS = 100;
const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1024 });

function send(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: Buffer,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const url = new URL(path, values.endpoint);
    const call = request(url, { method, agent, headers: { ...HEADERS, ...headers } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        if ((answer.statusCode ?? 0) < 300) resolve(Buffer.concat(chunks));
        else reject(new Error(`${method} ${path}: ${answer.statusCode ?? 0}`));
      });
    });
    call.on('error', reject);
    call.end(body);
  });
}

interface Listed {
  readonly BlockIndex: number;
  readonly BlockToken: string;
}

async function listAll(): Promise<Listed[]> {
  const blocks: Listed[] = [];
  for (let next: string | null = ''; next !== null;) {
    const from: string = next === '' ? '' : `&pageToken=${encodeURIComponent(next)}`;
    const body = await send('GET', `/snapshots/${values.snapshot}/blocks?maxResults=10000${from}`);
    const page = JSON.parse(body.toString()) as { Blocks: Listed[]; NextToken: string | null };
    blocks.push(...page.Blocks);
    next = page.NextToken;
  }
  return blocks;
}

async function blocksOf(file: FileHandle): Promise<Listed[]> {
  const { size } = await file.stat();
  return Array.from({ length: size / BLOCK_BYTES }, (_, BlockIndex) => ({ BlockIndex, BlockToken: '' }));
}

async function startSnapshot(): Promise<string> {
  const body = Buffer.from(
    JSON.stringify({ VolumeSize: Number(values.gib), ClientToken: randomBytes(8).toString('hex') }),
  );
  const answer = await send('POST', '/snapshots', { 'content-type': 'application/json' }, body);
  return (JSON.parse(answer.toString()) as { SnapshotId: string }).SnapshotId;
}

/** As often as it takes. */
async function complete(snapshotId: string): Promise<void> {
  const put = Object.values(digests);
  const headers = {
    'x-amz-changedblockscount': String(put.length),
    'x-amz-checksum': createHash('sha256').update(Buffer.concat(put)).digest('base64'),
    'x-amz-checksum-algorithm': 'SHA256',
    'x-amz-checksum-aggregation-method': 'LINEAR',
  };
  for (;;) {
    const answer = await send('POST', `/snapshots/completion/${snapshotId}`, headers);
    const { Status: status } = JSON.parse(answer.toString()) as { Status: string };
    if (status === 'completed') return;
    if (status !== 'pending') throw new Error(`${snapshotId} is ${status}`);
    await sleep(COMPLETE_POLL_MS);
  }
}

const image = values.image === undefined ? undefined : await open(values.image);
const blocks = image === undefined ? await listAll() : await blocksOf(image);
const target = values.what === 'get' ? '' : await startSnapshot();
const digests: Buffer[] = [];
const same = randomBytes(BLOCK_BYTES);
let at = 0;
const startMs = performance.now();
async function work(): Promise<void> {
  const room = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  const bytesOf = async (index: number, path: string): Promise<Buffer> => {
    if (image !== undefined) await image.read(room, 0, BLOCK_BYTES, index * BLOCK_BYTES);
    if (values.what === 'put') return image === undefined ? same : room;
    return send('GET', path);
  };
  for (let block = blocks[at++]; block !== undefined; block = blocks[at++]) {
    const { BlockIndex, BlockToken } = block;
    const path = `/snapshots/${values.snapshot}/blocks/${BlockIndex}?blockToken=${encodeURIComponent(BlockToken)}`;
    const bytes = await bytesOf(BlockIndex, path);
    // Whoever reads compares the checksum, and whoever writes sends it.
    const digest = createHash('sha256').update(bytes).digest();
    const checksum = digest.toString('base64');
    if (target === '') continue;
    digests[BlockIndex] = digest;
    const headers = {
      'x-amz-data-length': String(BLOCK_BYTES),
      'x-amz-checksum': checksum,
      'x-amz-checksum-algorithm': 'SHA256',
    };
    await send('PUT', `/snapshots/${target}/blocks/${BlockIndex}`, headers, bytes);
  }
}
await Promise.all(Array.from({ length: Number(values.inflight) }, work));
if (target !== '') await complete(target);
const wallSeconds = (performance.now() - startMs) / 1000;
process.stdout.write(`${JSON.stringify({ wallSeconds, blockCount: blocks.length })}\n`);
await image?.close();
agent.destroy();
