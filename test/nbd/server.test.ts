// The server on real sockets.
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import type { BlockDevice } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import type { BoundAddress } from '../../src/nbd/listen/listen-address.js';
import { NbdServer, type NbdServerOptions } from '../../src/nbd/server.js';
import { ManualClock, settle } from '../fixtures/manual-clock.js';
import { CMD, infoData, OPT, REP, requestBytes } from '../fixtures/nbd-bytes.js';
import { FixedExports } from '../fixtures/nbd-connection.js';
import { RawNbdClient } from '../fixtures/nbd-raw-client.js';
import { seededBytes, seededNumbers } from '../fixtures/seeded.js';
import { SlowDevice } from '../fixtures/slow-device.js';
import { workFolder } from '../fixtures/work-folder.js';

interface Served {
  readonly server: NbdServer;
  readonly exports: FixedExports;
  readonly address: BoundAddress;
  readonly open: () => Promise<RawNbdClient>;
}

async function serve(
  t: Test,
  device: BlockDevice = new MemoryDevice(2 ** 20),
  options: Partial<NbdServerOptions> = {},
): Promise<Served> {
  const exports = new FixedExports({ disk: device });
  const server = new NbdServer({ exports, ...options });
  const address = await server.listen({ kind: 'unix', path: join(workFolder(t), 's') });
  t.teardown(() => server.close());
  return { server, exports, address, open: () => RawNbdClient.greet(connectTo(address)) };
}

function connectTo(address: BoundAddress): Socket {
  return address.kind === 'unix' ? connect(address.path) : connect(address.port, address.host);
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What this process holds on to, once what closes has closed. */
async function keptMib(): Promise<number> {
  for (let turn = 0; turn < 3; turn += 1) {
    await settle();
    collectGarbage();
  }
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

/** Waits until something holds; what it waits for is under way, and nothing is timed. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await settle();
}

t.test('serves the same exports on several addresses', async (t) => {
  const { server, open } = await serve(t);
  const tcp = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  const one = await open();
  const other = await RawNbdClient.greet(connectTo(tcp));
  await one.go();
  await other.go();
  one.send({ type: CMD.WRITE, payload: Buffer.from('shared') });
  await one.readSimple();
  other.send({ type: CMD.READ, length: 6 });
  t.equal(
    (await other.readSimple(6)).payload.toString(),
    'shared',
    'one disk for all connections [nbd-rule 14]',
  );
  t.equal(server.connectionCount, 2);
  one.stream.destroy();
  other.stream.destroy();
  await until(() => server.connectionCount === 0);
});

t.test('[nbd-rule 19] connections are capped; one more is told why, and the place comes back', async (t) => {
  const { server, open, address } = await serve(t, undefined, {
    limits: { connectionsMax: 2, refusalsMax: 1 },
  });
  const clients = [await open(), await open()];
  const third = await open();
  const [answer] = await third.option(OPT.GO, infoData('disk'));
  t.equal(answer?.type, REP.ERR_POLICY);
  t.match(answer?.data.toString(), /2 clients/);
  t.equal(server.connectionCount, 2);
  const fourth = new RawNbdClient(connectTo(address));
  await fourth.ended;
  t.equal(fourth.pendingBytes, 0, 'beyond that, without a word');
  for (const client of [clients[0]!, third]) client.stream.destroy();
  await until(() => server.connectionCount === 1);
  const next = await open();
  t.equal((await next.go('disk')).size, 2n ** 20n);
});

t.test('[nbd-rule 35] drain finishes what is in progress, and stops listening first', async (t) => {
  const device = new SlowDevice();
  const clock = new ManualClock();
  const { server, open, address, exports } = await serve(t, device, { clock });
  const busy = await open();
  await busy.go();
  const idle = await open();
  await idle.go();
  busy.send({ type: CMD.READ, length: 300_000, cookie: 5n });
  await until(() => device.waiting.length === 1);
  const drained = server.drain(1000);
  await idle.ended;
  await t.rejects(RawNbdClient.greet(connectTo(address)), 'nobody is let in any more');
  device.take().resolve();
  t.match(await busy.readSimple(300_000), { error: 0, cookie: 5n });
  await busy.ended;
  await drained;
  t.equal(exports.leaseCount, 0);
  t.equal(clock.waitingCount, 0);
});

t.test('drain cuts what does not finish in time', async (t) => {
  const device = new SlowDevice();
  const clock = new ManualClock();
  const { server, open, exports } = await serve(t, device, { clock });
  const client = await open();
  await client.go();
  client.send({ type: CMD.READ, length: 512 });
  await until(() => device.waiting.length === 1);
  const drained = server.drain(1000);
  await clock.advance(1000);
  await client.ended;
  await until(() => device.waiting[0]?.signal?.aborted === true);
  device.take().reject(new Error('given up'));
  await drained;
  t.equal(exports.leaseCount, 0);
});

t.test('close cuts everything, and gives every export back', async (t) => {
  const { server, open, exports } = await serve(t);
  const clients = await Promise.all(Array.from({ length: 10 }, open));
  for (const client of clients.slice(5)) await client.go();
  t.equal(exports.leaseCount, 5);
  await server.close();
  t.equal(exports.leaseCount, 0);
  t.equal(server.connectionCount, 0);
  await Promise.all(clients.map((client) => client.ended));
});

t.test('many clients at once each get their own', async (t) => {
  const { open } = await serve(t, new MemoryDevice(2 ** 24));
  const clients = await Promise.all(Array.from({ length: 40 }, open));
  await Promise.all(
    clients.map(async (client, index) => {
      await client.go();
      const payload = Buffer.alloc(100_000, index + 1);
      const offset = index * payload.length;
      client.send(
        { type: CMD.WRITE, offset, payload, cookie: 1n },
        { type: CMD.READ, offset, length: payload.length, cookie: 2n },
      );
      await client.readSimple();
      t.ok((await client.readSimple(payload.length)).payload.equals(payload), `client ${index}`);
      client.send({ type: CMD.DISC });
      await client.ended;
    }),
  );
});

t.test('[nbd-rule 39] a write within a block is whole for everybody, also while it is read', async (t) => {
  const { open } = await serve(t);
  const writers = await Promise.all([open(), open()]);
  const reader = await open();
  await Promise.all([...writers, reader].map((client) => client.go()));
  const rounds = 200;
  for (let round = 0; round < rounds; round += 1) {
    writers.forEach((writer, index) => {
      writer.send({ type: CMD.WRITE, offset: 512, payload: Buffer.alloc(3000, 2 * round + index) });
    });
    reader.send({ type: CMD.READ, offset: 512, length: 3000 });
  }
  let torn = 0;
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(writers.map((writer) => writer.readSimple()));
    const { payload } = await reader.readSimple(3000);
    if (!payload.equals(Buffer.alloc(3000, payload[0]))) torn += 1;
  }
  t.equal(torn, 0);
});

t.test('what a device works on stays as it came while more comes', async (t) => {
  // Looks at the payload only when all of them have come.
  const disk = new MemoryDevice(2 ** 26);
  const count = 400;
  const waiting: (() => void)[] = [];
  const device: BlockDevice = {
    sizeBytes: disk.sizeBytes,
    read: (offset, lengthBytes) => disk.read(offset, lengthBytes),
    write: async (offset, data) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
      disk.write(offset, data);
    },
  };
  const { open } = await serve(t, device, { limits: { requestsInFlightMax: count } });
  const client = await open();
  await client.go();
  const random = seededNumbers('payloads that wait');
  const payloads = Array.from({ length: count }, (_, index) =>
    Buffer.alloc(random(4) === 0 ? 20_000 + random(100_000) : 1 + random(5000), index % 251),
  );
  let offset = 0;
  for (const payload of payloads) {
    client.send({ type: CMD.WRITE, offset, payload });
    offset += payload.length;
  }
  await until(() => waiting.length === count);
  for (const resume of waiting) resume();
  for (const payload of payloads) t.equal((await client.readSimple()).error, 0, `${payload.length} bytes`);
  client.send({ type: CMD.READ, offset: 0, length: offset });
  t.ok((await client.readSimple(offset)).payload.equals(Buffer.concat(payloads)));
});

t.test(
  '[nbd: NBD_CMD_WRITE] large writes are received in the device’s own memory, whole or not at all',
  async (t) => {
    const device = new MemoryDevice(2 ** 22);
    let roomCount = 0;
    const roomFor = device.roomFor.bind(device);
    device.roomFor = (offset, lengthBytes) => {
      roomCount += 1;
      return roomFor(offset, lengthBytes);
    };
    const { server, open } = await serve(t, device);
    const client = await open();
    await client.go();
    const random = seededNumbers('large writes in a row');
    const model = Buffer.alloc(device.sizeBytes);
    const send = (offset: number, lengthBytes: number): void => {
      const payload = seededBytes(`${offset} ${lengthBytes}`, lengthBytes);
      client.send({ type: CMD.WRITE, offset, payload });
      payload.copy(model, offset);
    };
    const count = 60;
    for (let round = 0; round < count; round += 1) {
      const lengthBytes = [2 ** 18, 2 ** 19, 1 + random(2 ** 20), 1 + random(5000)][random(4)]!;
      const limit = device.sizeBytes - lengthBytes;
      send(random(2) === 0 ? random(limit) : Math.floor(random(limit) / 2 ** 18) * 2 ** 18, lengthBytes);
    }
    for (let round = 0; round < count; round += 1) t.equal((await client.readSimple()).error, 0);
    t.ok(roomCount > 20, `${roomCount} of them`);
    client.send({ type: CMD.READ, offset: 0, length: device.sizeBytes });
    t.ok((await client.readSimple(device.sizeBytes)).payload.equals(model));
    const leaving = await open();
    await leaving.go();
    const broken = requestBytes({ type: CMD.WRITE, offset: 0, payload: Buffer.alloc(2 ** 18, 1) });
    const roomsBefore = roomCount;
    leaving.write(broken.subarray(0, -1));
    await until(() => roomCount > roomsBefore);
    leaving.stream.destroy();
    await until(() => server.connectionCount === 1);
    client.send({ type: CMD.READ, offset: 0, length: device.sizeBytes });
    t.ok((await client.readSimple(device.sizeBytes)).payload.equals(model), 'a write that was cut off');
  },
);

/** Flags, the name of the export, and a read. */
const FIRST_REQUEST_ENDS_AT = 4 + 16 + 10 + 28;

t.test(
  '[nbd-rule 38] ten thousand hang-ups, at every point, give back descriptors, places and memory',
  async (t) => {
    const { server, exports, address } = await serve(t, new MemoryDevice(2 ** 24), {
      limits: { connectionsMax: 4000 },
    });
    const tcp = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    const descriptorCount = (): number => readdirSync('/proc/self/fd').length;
    const conversation = Buffer.concat([
      Buffer.from([0, 0, 0, 3]),
      Buffer.from('IHAVEOPT'),
      Buffer.from([0, 0, 0, 7, 0, 0, 0, 10, 0, 0, 0, 4]),
      Buffer.from('disk'),
      Buffer.from([0, 0]),
      ...Array.from({ length: 8 }, (_, index) =>
        requestBytes({
          type: index % 2,
          offset: index * 65_536,
          length: 65_536,
          payload: Buffer.alloc(index % 2 ? 65_536 : 0),
        }),
      ),
    ]);
    const hangUp = async (index: number, reachBytes: number): Promise<void> => {
      const isReset = index % 5 === 0;
      const socket = connectTo(isReset ? tcp : address);
      // The queue of a listening socket may be full for a moment: one client is accepted in each turn of the event loop.
      await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve));
      socket.on('error', () => undefined);
      const saidBytes = index % 3 === 0 ? reachBytes : (index * 7919) % reachBytes;
      socket.write(conversation.subarray(0, saidBytes));
      if (index % 2 === 0) await settle();
      if (isReset) socket.resetAndDestroy();
      else socket.destroy();
    };
    const round = async (count: number, reachBytes = conversation.length): Promise<void> => {
      for (let done = 0; done < count; done += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, index) => hangUp(done + index, reachBytes)));
      }
      await until(() => server.connectionCount === 0);
    };
    const fdsBefore = descriptorCount();
    await round(500);
    const [keptBefore, rssBefore] = [await keptMib(), process.memoryUsage.rss()];
    await round(500);
    // As far as the first request: that is where most clients vanish, and takes the least time to say.
    await round(9000, FIRST_REQUEST_ENDS_AT);
    t.equal(exports.leaseCount, 0);
    t.ok(descriptorCount() <= fdsBefore + 5, 'descriptors');
    const grownMib = (await keptMib()) - keptBefore;
    t.ok(grownMib < 3, `memory: ${Math.round(grownMib)} MiB more are kept`);
    // The clients are in this process as well, and how much room for new objects it keeps is its own affair.
    const grownRssMib = (process.memoryUsage.rss() - rssBefore) / 2 ** 20;
    t.ok(grownRssMib < 200, `resident memory: ${Math.round(grownRssMib)} MiB more`);
  },
);

t.test(
  '[nbd-rule 38] slow readers, slow writers and half-closed clients keep nothing once they are gone',
  async (t) => {
    let madeBytes = 0;
    const device: BlockDevice = {
      sizeBytes: 2 ** 24,
      read: (_offset, lengthBytes) => {
        madeBytes += lengthBytes;
        return [Buffer.alloc(lengthBytes, 1)];
      },
      write: () => undefined,
    };
    const limits = { unsentBytesMax: 2 ** 20, bytesInFlightMax: 2 ** 21, requestsInFlightMax: 8 };
    const { server, exports, open } = await serve(t, device, { limits });
    const descriptorCount = (): number => readdirSync('/proc/self/fd').length;
    const fdsBefore = descriptorCount();
    const inTransmission = async (): Promise<RawNbdClient> => {
      const client = await open();
      await client.go();
      return client;
    };
    collectGarbage();
    const rssBefore = process.memoryUsage.rss();
    // Each asks for 256 MiB and reads nothing of it.
    const readers = await Promise.all(Array.from({ length: 10 }, inTransmission));
    for (const reader of readers) {
      reader.stream.pause();
      reader.send(...Array.from({ length: 256 }, () => ({ type: CMD.READ, length: 2 ** 20 })));
    }
    // Each announces 8 MiB, and sends a byte of it now and then.
    const writers = await Promise.all(Array.from({ length: 10 }, inTransmission));
    for (const writer of writers) writer.send({ type: CMD.WRITE, length: 2 ** 23, payload: Buffer.alloc(1) });
    // Each has hung up its side: with nothing in progress, and within a request.
    const halves = await Promise.all(Array.from({ length: 10 }, inTransmission));
    halves.forEach(({ stream }, index) => stream.end(index % 2 === 0 ? undefined : Buffer.alloc(10, 0x25)));
    await Promise.all(halves.map((client) => client.ended));
    for (let round = 0; round < 20; round += 1) {
      for (const writer of writers) writer.write(Buffer.alloc(1));
      await settle();
    }
    t.equal(server.connectionCount, 20, 'those that are half-closed are gone');
    const grownMib = (process.memoryUsage.rss() - rssBefore) / 2 ** 20;
    t.ok(madeBytes < 100 * 2 ** 20, `${madeBytes} bytes were read for those who do not`);
    t.ok(grownMib < 300, `of 2640 MiB that were asked for: ${Math.round(grownMib)} MiB more`);
    for (const client of [...readers, ...writers]) client.stream.destroy();
    await until(() => server.connectionCount === 0);
    t.equal(exports.leaseCount, 0);
    t.ok(descriptorCount() <= fdsBefore + 2, 'descriptors');
  },
);

t.test('[nbd-rule 33, 38] what comes behind DISC is not kept while the rest is finished', async (t) => {
  const device = new SlowDevice();
  const { server, open } = await serve(t, device);
  const client = await open();
  await client.go();
  client.send({ type: CMD.READ, length: 512 }, { type: CMD.DISC });
  await until(() => device.waiting.length === 1);
  const before = process.memoryUsage().arrayBuffers;
  const flood = Buffer.alloc(2 ** 22, 7);
  for (let sent = 0; sent < 64; sent += 1) {
    await new Promise((resolve) => client.stream.write(flood, resolve));
  }
  const keptMib = (process.memoryUsage().arrayBuffers - before) / 2 ** 20;
  t.ok(keptMib < 100, `of 256 MiB: ${Math.round(keptMib)} MiB`);
  device.take().resolve();
  t.match(await client.readSimple(512), { error: 0 });
  await client.ended;
  client.stream.destroy();
  await until(() => server.connectionCount === 0);
});

t.test('memory that a read was lent goes back when the reply has gone out, and not before', async (t) => {
  let lentCount = 0;
  const device: BlockDevice = {
    sizeBytes: 2 ** 30,
    read: (offset, lengthBytes, options) => {
      const bytes = Buffer.alloc(lengthBytes, offset % 251);
      lentCount += 1;
      // As a device does that uses the memory again.
      options?.lease?.hold(() => {
        lentCount -= 1;
        bytes.fill(0xff);
      });
      return offset % 2 === 0 ? [bytes] : settle().then(() => [bytes]);
    },
  };
  const { server, open } = await serve(t, device);
  const lengths = Array.from({ length: 16 }, (_, index) => (index % 3 === 0 ? 100_000 : 2 ** 20));
  const ask = async (client: RawNbdClient): Promise<void> => {
    await client.go();
    client.stream.pause();
    client.send(
      ...lengths.map((length, offset) => ({ type: CMD.READ, offset, length, cookie: BigInt(offset) })),
    );
    await until(() => lentCount > 8);
    for (let turn = 0; turn < 20; turn += 1) await settle();
    t.ok(lentCount > 0, 'the client has not read them');
  };
  const client = await open();
  await ask(client);
  client.stream.resume();
  for (let left = lengths.length; left > 0; left -= 1) {
    const header = await client.read(16);
    const index = Number(header.readBigUInt64BE(8));
    const bytes = await client.read(lengths[index]!);
    if (!bytes.equals(Buffer.alloc(bytes.length, index % 251))) t.fail(`the reply to request ${index}`);
  }
  await until(() => lentCount === 0);
  const leaving = await open();
  await ask(leaving);
  leaving.stream.destroy();
  await until(() => server.connectionCount === 1);
  client.send({ type: CMD.READ, offset: 3, length: 2 ** 16 });
  t.same((await client.readSimple(2 ** 16)).payload, Buffer.alloc(2 ** 16, 3), 'others are served');
});
