// Reads all blocks of a snapshot with http.get and nothing around it: what the machine and the service leave to win.
// Ends with a line of JSON.
import { createHash } from 'node:crypto';
import { Agent, get } from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    endpoint: { type: 'string', default: '' },
    snapshot: { type: 'string', default: '' },
    inflight: { type: 'string', default: '64' },
    /** Requests a second, evenly: the quota, which this loop is told. */
    rate: { type: 'string', default: 'Infinity' },
    sha256: { type: 'boolean', default: false },
  },
});
const HEADERS = {
  authorization:
    'AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/ebs/aws4_request, SignedHeaders=host;x-amz-date, Signature=00',
  'x-amz-date': '20260101T000000Z',
};
const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1024 });

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly checksum: string | undefined;
}

function ask(path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = get(new URL(path, values.endpoint), { agent, headers: HEADERS }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const checksum = answer.headers['x-amz-checksum'] as string | undefined;
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks), checksum });
      });
    });
    call.on('error', reject);
  });
}

async function listAll(): Promise<{ index: number; token: string }[]> {
  const blocks: { index: number; token: string }[] = [];
  let next: string | null = null;
  do {
    const from: string = next === null ? '' : `&pageToken=${encodeURIComponent(next)}`;
    const { body } = await ask(`/snapshots/${values.snapshot}/blocks?maxResults=10000${from}`);
    const page = JSON.parse(body.toString()) as {
      Blocks: { BlockIndex: number; BlockToken: string }[];
      NextToken: string | null;
    };
    for (const { BlockIndex, BlockToken } of page.Blocks)
      blocks.push({ index: BlockIndex, token: BlockToken });
    next = page.NextToken;
  } while (next !== null);
  return blocks;
}

const blocks = await listAll();
const intervalMs = 1000 / Number(values.rate);
let at = 0;
let nextMs = performance.now();
const startMs = nextMs;
const startCpu = process.cpuUsage();
async function work(): Promise<void> {
  for (let block = blocks[at++]; block !== undefined; block = blocks[at++]) {
    nextMs = Math.max(nextMs + intervalMs, performance.now() - 30);
    const delayMs = nextMs - performance.now();
    if (delayMs >= 1) await new Promise((resolve) => setTimeout(resolve, delayMs));
    for (;;) {
      const path = `/snapshots/${values.snapshot}/blocks/${block.index}?blockToken=${encodeURIComponent(block.token)}`;
      const { status, body, checksum } = await ask(path);
      if (status === 200) {
        if (values.sha256 && createHash('sha256').update(body).digest('base64') !== checksum) {
          throw new Error(`block ${block.index} has another checksum`);
        }
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
await Promise.all(Array.from({ length: Number(values.inflight) }, work));
const { user, system } = process.cpuUsage(startCpu);
const wallSeconds = (performance.now() - startMs) / 1000;
console.log(JSON.stringify({ wallSeconds, cpuSeconds: (user + system) / 1e6, blockCount: blocks.length }));
agent.destroy();
