// What bounds a connection, and how it ends.
import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { DeviceError } from '../../src/device/device-error.js';
import { CMD, ERR, infoData, OPT, optionBytes, REP } from '../fixtures/nbd-bytes.js';
import { FixedExports, openClient, openConnection } from '../fixtures/nbd-connection.js';
import { RawNbdClient } from '../fixtures/nbd-raw-client.js';
import { settle } from '../fixtures/manual-clock.js';
import { SlowDevice } from '../fixtures/slow-device.js';
import { TlsMode } from '../../src/nbd/negotiation/session.js';

t.test('[nbd-rule 19; CVE-2024-7409] an idle handshake is closed after ten seconds', async (t) => {
  for (const progress of ['nothing', 'greeted', 'half an option', 'options'] as const) {
    const { stream, clock, connection } = openConnection(t);
    const client = new RawNbdClient(stream);
    await client.read(18);
    if (progress !== 'nothing') client.write(Buffer.from([0, 0, 0, 3]));
    if (progress === 'half an option') client.write(optionBytes(OPT.GO, infoData('disk')).subarray(0, 20));
    if (progress === 'options') await client.option(OPT.LIST);
    await clock.advance(9_999);
    t.notOk(stream.readableEnded, progress);
    await clock.advance(1);
    await connection.closed;
    t.equal(clock.waitingCount, 0, 'no timer is left');
  }
});

t.test('[nbd-rule 19] the time that the server takes to open an export is not the client’s', async (t) => {
  const exports = new FixedExports({ disk: new MemoryDevice(512) });
  let open: () => void = () => undefined;
  const slow = {
    list: () => [],
    acquire: async (name: string) => {
      await new Promise<void>((resolve) => (open = resolve));
      return exports.acquire(name);
    },
  };
  const { client, clock } = await openClient(t, { exports: slow });
  await clock.advance(6000);
  client.write(optionBytes(OPT.GO, infoData('disk')));
  await clock.advance(60_000);
  open();
  t.equal((await client.readAnswers()).at(-1)?.type, REP.ACK);
  await clock.advance(1_000_000);
  client.send({ type: CMD.FLUSH });
  t.equal((await client.readSimple()).error, 0, 'an idle client in transmission stays');
});

t.test('requests in progress are bounded in number', async (t) => {
  const device = new SlowDevice();
  const { client } = await openClient(t, { devices: { disk: device }, limits: { requestsInFlightMax: 3 } });
  await client.go();
  for (let index = 0; index < 10; index += 1)
    client.send({ type: CMD.READ, length: 512, cookie: BigInt(index) });
  await settle();
  t.equal(device.waiting.length, 3);
  for (let index = 0; index < 10; index += 1) {
    device.take().resolve();
    t.equal((await client.readSimple(512)).cookie, BigInt(index));
    await settle();
    t.equal(device.waiting.length, Math.min(3, 9 - index));
  }
});

t.test('requests in progress are bounded in bytes, and one is always let in', async (t) => {
  const device = new SlowDevice();
  const limits = { bytesInFlightMax: 10_000, payloadBytesMax: 50_000 };
  const { client } = await openClient(t, { devices: { disk: device }, limits });
  await client.go();
  const lengths = [6000, 4000, 1, 50_000, 512];
  client.send(...lengths.map((length, index) => ({ type: CMD.READ, length, cookie: BigInt(index) })));
  await settle();
  t.strictSame(
    device.waiting.map(({ lengthBytes }) => lengthBytes),
    [6000, 4000],
  );
  device.take().resolve();
  await client.readSimple(6000);
  await settle();
  t.strictSame(
    device.waiting.map(({ lengthBytes }) => lengthBytes),
    [4000, 1],
  );
  device.take().resolve();
  device.take().resolve();
  await client.readSimple(4000);
  await client.readSimple(1);
  await settle();
  t.strictSame(
    device.waiting.map(({ lengthBytes }) => lengthBytes),
    [50_000],
    'alone',
  );
  device.take().resolve();
  await client.readSimple(50_000);
  await settle();
  device.take().resolve();
  t.equal((await client.readSimple(512)).cookie, 4n);
});

t.test('[nbd-rule 38] a client that does not read is not read from either', async (t) => {
  const calls: number[] = [];
  const device = {
    sizeBytes: 2 ** 30,
    read: (offset: number, lengthBytes: number) => {
      calls.push(offset);
      return [Buffer.alloc(lengthBytes, 1)];
    },
  };
  const limits = { unsentBytesMax: 300_000 };
  const { client, stream } = await openClient(t, { devices: { disk: device }, limits });
  await client.go();
  stream.pause();
  for (let index = 0; index < 1000; index += 1) {
    client.send({ type: CMD.READ, offset: index, length: 100_000, cookie: BigInt(index) });
  }
  await settle();
  t.ok(calls.length <= 8, `${calls.length} requests were started, of 1000`);
  stream.resume();
  for (let index = 0; index < 1000; index += 1) {
    const reply = await client.readSimple(100_000);
    if (reply.cookie !== BigInt(index)) t.fail(`reply ${index}`);
  }
  t.equal(calls.length, 1000, 'and all are answered once it reads');
});

t.test('[nbd-rule 38] a client that vanishes with replies queued takes nothing with it', async (t) => {
  const device = new SlowDevice();
  const { client, connection, exports, log } = await openClient(t, { devices: { disk: device } });
  await client.go();
  client.send({ type: CMD.READ, length: 500_000 }, { type: CMD.READ, length: 500_000 });
  await settle();
  connection.close();
  t.equal(
    device.waiting.every(({ signal }) => signal?.aborted === true),
    false,
    'not before the socket is gone',
  );
  await settle();
  t.equal(
    device.waiting.every(({ signal }) => signal?.aborted === true),
    true,
    'the device is told',
  );
  t.equal(exports.leaseCount, 1, 'it is lent as long as it works');
  device.take().reject(new DeviceError('EIO', 'given up'));
  device.take().resolve();
  await connection.closed;
  t.equal(exports.leaseCount, 0);
  t.strictSame(log.at('warn'), [], 'giving up is not worth a warning');
});

t.test('a client that has said all still gets its replies', async (t) => {
  const device = new SlowDevice();
  const { client, connection } = await openClient(t, {
    devices: { disk: device },
    limits: { requestsInFlightMax: 2 },
  });
  await client.go();
  client.send(...[1n, 2n, 3n].map((cookie) => ({ type: CMD.READ, length: 512, cookie })));
  client.stream.end();
  for (const cookie of [1n, 2n, 3n]) {
    await settle();
    device.take().resolve();
    t.match(await client.readSimple(512), { error: 0, cookie });
  }
  await client.ended;
  await connection.closed;
});

t.test('[nbd: NBD_CMD_CACHE] prefetches are bounded, and leave room for reads beside them', async (t) => {
  const device = new SlowDevice(2 ** 40);
  const { client } = await openClient(t, { devices: { disk: device } });
  await client.go();
  client.send({ type: CMD.CACHE, length: 2 ** 32 - 1 }, { type: CMD.READ, length: 512, cookie: 1n });
  await settle();
  t.equal(device.waiting.length, 2, 'a read passes a large one');
  device.take().resolve();
  t.match(await client.readSimple(), { error: 0 });
  device.take().resolve();
  t.match(await client.readSimple(512), { error: 0 });
  client.send(...Array.from({ length: 100 }, () => ({ type: CMD.CACHE, length: 64 * 2 ** 20 })));
  await settle();
  t.equal(device.waiting.length, 16);
  for (let done = 0; done < 100; done += 1) {
    device.take().resolve();
    t.match(await client.readSimple(), { error: 0 });
    await settle();
    t.ok(device.waiting.length <= 16);
  }
});

t.test('[nbd: NBD_CMD_CACHE; nbd-rule 38] a prefetch ends with the client that asked for it', async (t) => {
  const device = new SlowDevice(2 ** 40);
  const { client, connection, exports, log } = await openClient(t, { devices: { disk: device } });
  await client.go();
  client.send(...Array.from({ length: 100 }, () => ({ type: CMD.CACHE, length: 2 ** 32 - 1 })));
  await settle();
  const begun = device.waiting.splice(0);
  t.equal(begun.length, 16);
  t.notOk(begun.some(({ signal }) => signal?.aborted === true));
  client.stream.end();
  await settle();
  t.ok(begun.every(({ signal }) => signal?.aborted === true));
  for (const request of begun) request.reject(request.signal?.reason);
  for (let answered = 0; answered < 100; answered += 1) t.match(await client.readSimple(), { error: 0 });
  await client.ended;
  await connection.closed;
  t.equal(device.waiting.length, 0, 'the others were not begun');
  t.equal(exports.leaseCount, 0);
  t.strictSame(log.at('warn'), [], 'giving up is not worth a warning');
});

t.test('[nbd-rule 35] drain does not wait for a prefetch', async (t) => {
  const device = new SlowDevice(2 ** 40);
  const { client, connection } = await openClient(t, { devices: { disk: device } });
  await client.go();
  client.send({ type: CMD.CACHE, length: 2 ** 32 - 1 });
  await settle();
  connection.drain();
  const request = device.take();
  request.reject(request.signal?.reason);
  t.match(await client.readSimple(), { error: 0 });
  await client.ended;
});

t.test('a prefetch that fails by itself is an error', async (t) => {
  const device = new SlowDevice();
  const { client } = await openClient(t, { devices: { disk: device } });
  await client.go();
  client.send({ type: CMD.CACHE, length: 512 });
  await settle();
  device.take().reject(new DeviceError('EIO', 'no answer'));
  t.match(await client.readSimple(), { error: ERR.EIO });
});

t.test('a client that hangs up in the midst of a payload is forgotten', async (t) => {
  const { client, connection, exports } = await openClient(t);
  await client.go();
  client.send({ type: CMD.WRITE, length: 100_000, payload: Buffer.alloc(10) });
  client.stream.end();
  await client.ended;
  await connection.closed;
  t.equal(exports.leaseCount, 0);
});

t.test(
  '[nbd: Terminating the transmission phase; nbd-rule 35] drain: ESHUTDOWN to what is new',
  async (t) => {
    const device = new SlowDevice();
    const { client, connection, clock } = await openClient(t, { devices: { disk: device } });
    await client.go();
    client.send({ type: CMD.READ, length: 512, cookie: 1n });
    await settle();
    connection.drain();
    client.send(
      { type: CMD.READ, length: 512, cookie: 2n },
      { type: CMD.WRITE, payload: Buffer.alloc(100_000), cookie: 3n },
    );
    t.match(await client.readSimple(512), { error: ERR.ESHUTDOWN, cookie: 2n });
    t.match(await client.readSimple(), { error: ERR.ESHUTDOWN, cookie: 3n });
    device.take().resolve();
    t.match(await client.readSimple(512), { error: 0, cookie: 1n }, 'what was in progress is finished');
    await client.ended;
    client.stream.end();
    await connection.closed;
    t.equal(clock.waitingCount, 0);
  },
);

t.test(
  '[nbd: Termination of the session during option haggling; nbd-rule 35] drain: ERR_SHUTDOWN',
  async (t) => {
    const halfway = await openClient(t);
    const option = optionBytes(OPT.LIST);
    halfway.client.write(optionBytes(OPT.INFO, infoData('disk')).subarray(0, 18));
    await settle();
    halfway.connection.drain();
    halfway.client.write(optionBytes(OPT.INFO, infoData('disk')).subarray(18));
    t.match(await halfway.client.readAnswers(), [{ type: REP.ERR_SHUTDOWN }]);
    halfway.client.write(option);
    await halfway.client.ended;

    let open: () => void = () => undefined;
    const exports = new FixedExports({ disk: new MemoryDevice(512) });
    const slow = {
      list: () => [],
      acquire: async (name: string) => {
        await new Promise<void>((resolve) => (open = resolve));
        return exports.acquire(name);
      },
    };
    const waiting = await openClient(t, { exports: slow });
    waiting.client.write(optionBytes(OPT.GO, infoData('disk')));
    await settle();
    waiting.connection.drain();
    open();
    t.match(await waiting.client.readAnswers(), [{ type: REP.ERR_SHUTDOWN }]);
    waiting.client.stream.end();
    await waiting.connection.closed;
    t.equal(exports.leaseCount, 0);

    const idle = await openClient(t);
    idle.connection.drain();
    await idle.client.ended;
    t.equal(idle.client.pendingBytes, 0, 'an idle one is simply hung up on');
  },
);

t.test('a client that does not read its last replies is cut after a while', async (t) => {
  const { client, connection, clock } = await openClient(t);
  await client.go();
  client.stream.pause();
  for (let index = 0; index < 20; index += 1) client.send({ type: CMD.READ, length: 100_000 });
  client.send({ type: CMD.DISC });
  await settle();
  connection.drain();
  connection.close();
  await clock.run(connection.closed);
  t.equal(clock.waitingCount, 0);
});

t.test(
  '[nbd-rule 16, 35] who is not wanted is told why, whatever it asks for, and may ask again',
  async (t) => {
    const refusal = { replyType: REP.ERR_POLICY, message: 'there is no room' };
    const { client, exports } = await openClient(t, { setup: { refusal } });
    for (const option of [OPT.LIST, OPT.STRUCTURED_REPLY, OPT.GO, 99]) {
      const answers = await client.option(option, Buffer.alloc(100));
      t.match(answers, [{ option, type: REP.ERR_POLICY, data: Buffer.from('there is no room') }]);
    }
    t.match(await client.option(OPT.ABORT), [{ type: REP.ACK }]);
    await client.ended;
    t.strictSame(exports.asked, []);

    const old = await openClient(t, { setup: { refusal } });
    old.client.write(optionBytes(OPT.EXPORT_NAME, Buffer.from('disk')));
    await old.client.ended;
    t.equal(old.client.pendingBytes, 0);
  },
);

t.test(
  '[nbd: FORCEDTLS mode; nbd-rule 16] everything but STARTTLS and ABORT: TLS_REQD, data consumed',
  async (t) => {
    const setup = { tlsMode: TlsMode.Require };
    const { client, exports } = await openClient(t, { setup });
    for (const option of [
      OPT.LIST,
      OPT.INFO,
      OPT.GO,
      OPT.STRUCTURED_REPLY,
      OPT.SET_META_CONTEXT,
      OPT.EXTENDED_HEADERS,
      99,
    ]) {
      t.match(await client.option(option, Buffer.alloc(60_000, 0x49)), [{ option, type: REP.ERR_TLS_REQD }]);
    }
    t.match(await client.option(OPT.ABORT), [{ type: REP.ACK }]);
    t.strictSame(exports.asked, []);

    const old = await openClient(t, { setup });
    old.client.write(optionBytes(OPT.EXPORT_NAME, Buffer.from('disk')));
    await old.client.ended;
    t.equal(old.client.pendingBytes, 0);
  },
);

t.test('[nbd: NOTLS mode; nbd-rule 16] no TLS: STARTTLS is refused, and nothing needs it', async (t) => {
  const { client } = await openClient(t);
  t.match(await client.option(OPT.STARTTLS), [{ type: REP.ERR_POLICY }]);
  t.equal((await client.go()).size, 2n ** 20n);
  const { client: plain } = await openClient(t, { clientFlags: 0, setup: { tlsMode: TlsMode.On } });
  t.match(await plain.option(OPT.STARTTLS), [{ type: REP.ERR_POLICY }], 'nor without fixed newstyle');
});

t.test('a defect of the server ends the connection, is logged, and goes no further', async (t) => {
  const exports = {
    list: () => {
      throw new Error('a defect');
    },
    acquire: () => Promise.reject(new Error('unused')),
  };
  const { client, connection, log } = await openClient(t, { exports });
  client.write(optionBytes(OPT.LIST));
  await connection.closed;
  t.match(log.at('error'), [{ message: 'a connection failed', fields: { error: 'a defect' } }]);
});
