// The server on real sockets: who is let in, and how it ends.
import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { CMD, infoData, OPT, REP } from '../fixtures/nbd-bytes.js';
import { RawNbdClient } from '../fixtures/nbd-raw-client.js';
import { connectTo, serveDevice, until } from '../fixtures/served-device.js';
import { SlowDevice } from '../fixtures/slow-device.js';

t.test('serves the same exports on several addresses', async (t) => {
  const { server, open } = await serveDevice(t);
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
  const { server, open, address } = await serveDevice(t, undefined, {
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
  const { server, open, address, exports } = await serveDevice(t, device, { clock });
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
  const { server, open, exports } = await serveDevice(t, device, { clock });
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
  const { server, open, exports } = await serveDevice(t);
  const clients = await Promise.all(Array.from({ length: 10 }, open));
  for (const client of clients.slice(5)) await client.go();
  t.equal(exports.leaseCount, 5);
  await server.close();
  t.equal(exports.leaseCount, 0);
  t.equal(server.connectionCount, 0);
  await Promise.all(clients.map((client) => client.ended));
});

t.test('many clients at once each get their own', async (t) => {
  const { open } = await serveDevice(t, new MemoryDevice(2 ** 24));
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
