import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { receiveFrom, ScratchPool, type ByteReceiver } from '../../src/nbd/byte-source.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';
import { streamPair } from '../fixtures/stream-pair.js';
import { workFolder } from '../fixtures/work-folder.js';

const TOTAL_BYTES = 3_000_000;
const CLIENTS = ['a', 'b', 'c'];
const scratches = new ScratchPool();

/** Keeps some of what comes, asks for some of it in places of its own, and puts all of it together. */
class Collector implements ByteReceiver {
  readonly #random: (limit: number) => number;
  readonly #kept: Buffer[] = [];
  /** Copies taken when it came, to hold against what was kept. */
  readonly copies: Buffer[] = [];
  targetCount = 0;
  #target: Buffer | undefined;

  constructor(random: (limit: number) => number) {
    this.#random = random;
  }

  received(bytes: Buffer): boolean {
    const isKept = this.#random(2) === 0;
    this.copies.push(Buffer.from(bytes));
    this.#kept.push(isKept ? bytes : Buffer.from(bytes));
    return isKept;
  }

  target(): Buffer | undefined {
    this.#target = this.#random(2) === 0 ? undefined : Buffer.alloc(1 + this.#random(100_000));
    return this.#target;
  }

  wantedBytes(): number | undefined {
    return this.#random(4) === 0 ? 1 + this.#random(100) : undefined;
  }

  targetFilled(countBytes: number): void {
    const filled = this.#target?.subarray(0, countBytes) ?? Buffer.alloc(0);
    this.targetCount += 1;
    this.#kept.push(filled);
    this.copies.push(Buffer.from(filled));
  }

  get kept(): Buffer {
    return Buffer.concat(this.#kept);
  }
}

async function listen(t: Test, onConnection: (socket: Socket) => void): Promise<[Server, string]> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  const path = join(workFolder(t), 'socket');
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return [server, path];
}

t.test('every byte comes once and stays as it was, kept, copied or put into its place', async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const collectors: Collector[] = [];
  let endedCount = 0;
  let onAllEnded: () => void = () => undefined;
  const allEnded = new Promise<void>((resolve) => {
    onAllEnded = resolve;
  });
  const streams: Duplex[] = [];
  const [server, path] = await listen(t, (socket) => {
    const collector = new Collector(seededNumbers(`${seed}-${collectors.length}`));
    collectors.push(collector);
    const stream = receiveFrom(socket, collector, scratches);
    streams.push(stream);
    stream.once('end', () => {
      endedCount += 1;
      if (endedCount === CLIENTS.length) onAllEnded();
    });
  });
  const clients = await Promise.all(
    CLIENTS.map(async (name) => {
      const client = connect(path);
      await once(client, 'connect');
      const bytes = seededBytes(`${seed}${name}`, TOTAL_BYTES);
      for (let at = 0; at < bytes.length; at += 70_001) client.write(bytes.subarray(at, at + 70_001));
      client.end();
      const answer: Buffer[] = [];
      client.on('data', (chunk: Buffer) => answer.push(chunk));
      return { bytes, ended: once(client, 'close'), answer };
    }),
  );
  await allEnded;
  const sent = clients.map(({ bytes }) => bytes);
  const cameFrom = collectors.map((collector) => sent.findIndex((bytes) => bytes.equals(collector.kept)));
  t.strictSame(cameFrom.toSorted(), [0, 1, 2], 'each client has its bytes in one place');
  t.ok(
    collectors.every((collector) => Buffer.concat(collector.copies).equals(collector.kept)),
    'and none of them changed later',
  );
  t.ok(
    collectors.every(({ targetCount }) => targetCount > 0),
    'some of them were read into their place',
  );

  streams.forEach((stream, index) => stream.end(`bye ${cameFrom[index]}`));
  await Promise.all(clients.map((client) => client.ended));
  t.strictSame(
    clients.map(({ answer }) => Buffer.concat(answer).toString()),
    ['bye 0', 'bye 1', 'bye 2'],
    'the stream that is handed on writes to the same client, also after its end of the way in',
  );
  t.equal(await promisify(server.getConnections.bind(server))(), 0, 'the server knows that they are gone');
});

t.test('a client that is cut, and one that is paused', async (t) => {
  let stream: Duplex | undefined;
  let cameBytes = 0;
  const accepted = new Promise<void>((resolve) => {
    void listen(t, (socket) => {
      stream = receiveFrom(
        socket,
        {
          received: (bytes) => {
            cameBytes += bytes.length;
            stream?.pause();
            return false;
          },
          target: () => undefined,
          targetFilled: () => undefined,
        },
        scratches,
      );
      resolve();
    }).then(([, path]) => {
      const client = connect(path);
      client.on('error', () => undefined);
      client.write(Buffer.alloc(1_000_000));
      t.teardown(() => client.destroy());
    });
  });
  await accepted;
  const paused = once(stream!, 'pause');
  await paused;
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const pausedAt = cameBytes;
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  t.equal(cameBytes, pausedAt, 'nothing comes while it is paused');
  t.ok(pausedAt > 0 && pausedAt < 1_000_000, `${pausedAt} bytes came before`);
  const again = once(stream!, 'pause');
  stream?.resume();
  await again;
  t.ok(cameBytes > pausedAt, 'more comes when it goes on');
  const closed = once(stream!, 'close');
  stream?.destroy();
  await closed;
});

t.test(
  'the memory that a client was read into serves the next one, unless it is still referred to',
  async (t) => {
    const pool = new ScratchPool();
    const first = pool.take();
    pool.give(first);
    const isKept = [false, true];
    const usedFirst: boolean[] = [];
    const [, path] = await listen(t, (socket) => {
      const stream = receiveFrom(
        socket,
        {
          received: (bytes) => {
            usedFirst.push(bytes.buffer === first.buffer);
            return isKept.shift() ?? false;
          },
          target: () => undefined,
          targetFilled: () => undefined,
        },
        pool,
      );
      stream.once('end', () => stream.end());
    });
    for (let round = 0; round < 3; round += 1) {
      const client = connect(path);
      client.end('some bytes').resume();
      await once(client, 'close');
    }
    t.strictSame(usedFirst, [true, true, false]);
  },
);

t.test('a stream that is no socket hands over its chunks', async (t) => {
  const [far, near] = streamPair();
  const chunks: Buffer[] = [];
  const stream = receiveFrom(
    near,
    {
      received: (bytes) => chunks.push(bytes) > 0,
      target: () => undefined,
      targetFilled: () => undefined,
    },
    scratches,
  );
  t.equal(stream, near);
  far.end('hello');
  await once(stream, 'end');
  t.equal(Buffer.concat(chunks).toString(), 'hello');
});
