// What clients on real sockets leave in the memory and the descriptors of the server.
import { readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import type { BlockDevice } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { settle } from '../fixtures/manual-clock.js';
import { CMD, requestBytes } from '../fixtures/nbd-bytes.js';
import type { RawNbdClient } from '../fixtures/nbd-raw-client.js';
import { connectTo, serveDevice, until } from '../fixtures/served-device.js';
import { SlowDevice } from '../fixtures/slow-device.js';

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

/** Flags, the name of the export, and a read. */
const FIRST_REQUEST_ENDS_AT = 4 + 16 + 10 + 28;

t.test(
  '[nbd-rule 38] ten thousand hang-ups, at every point, give back descriptors, places and memory',
  async (t) => {
    const { server, exports, address } = await serveDevice(t, new MemoryDevice(2 ** 24), {
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
    const { server, exports, open } = await serveDevice(t, device, { limits });
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
  const { server, open } = await serveDevice(t, device);
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
  const { server, open } = await serveDevice(t, device);
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
