// Requests as a client without structured replies sees them.
import t from 'tap';
import type { BlockDevice, WriteOptions, ZeroOptions } from '../../../src/device/block-device.js';
import { DeviceError } from '../../../src/device/device-error.js';
import { MemoryDevice } from '../../../src/device/memory-device.js';
import { CMD, ERR, FLAG, requestBytes, type RequestParts } from '../../fixtures/nbd-bytes.js';
import { splitsOf } from '../../fixtures/codec-table.js';
import { openClient, type TestConnection } from '../../fixtures/nbd-connection.js';
import type { RawNbdClient } from '../../fixtures/nbd-raw-client.js';
import { seededBytes } from '../../fixtures/seeded.js';
import { SlowDevice } from '../../fixtures/slow-device.js';
import { settle } from '../../fixtures/manual-clock.js';

const SIZE = 2 ** 20;

/** A client that is past the handshake. */
async function transmitting(
  t: Parameters<typeof openClient>[0],
  device: BlockDevice = new MemoryDevice(SIZE),
  options: Parameters<typeof openClient>[1] = {},
): Promise<TestConnection & { client: RawNbdClient }> {
  const opened = await openClient(t, { devices: { disk: device }, ...options });
  await opened.client.go('disk');
  return opened;
}

/** Sends requests one by one and gives the errors that they are answered with. */
async function errorsOf(
  client: RawNbdClient,
  requests: readonly RequestParts[],
): Promise<(number | undefined)[]> {
  const errors = [];
  for (const request of requests) {
    client.send({ cookie: 77n, ...request });
    const isRead = request.type === CMD.READ;
    const reply = await client.readSimple(isRead ? Number(request.length ?? 0) : 0);
    if (reply.cookie !== 77n) throw new Error('a strange cookie');
    errors.push(reply.error);
  }
  return errors;
}

t.test('[nbd: NBD_CMD_READ, NBD_CMD_WRITE] what was written is read, in every size', async (t) => {
  const { client } = await transmitting(t);
  for (const length of [1, 511, 4096, 32768, 32769, 65536, 300_000]) {
    const payload = seededBytes(String(length), length);
    const offset = 1000 + length;
    client.send({ type: CMD.WRITE, offset, payload }, { type: CMD.READ, offset, length, cookie: 2n });
    t.match(await client.readSimple(), { error: 0, cookie: 0n });
    const reply = await client.readSimple(length);
    t.match(reply, { error: 0, cookie: 2n });
    t.ok(reply.payload.equals(payload), `${length} bytes`);
  }
});

t.test(
  '[nbd: Request message; nbd-rule 37] requests come in pieces of any size, or many in one',
  async (t) => {
    const payload = Buffer.from('payload of a write');
    const bytes = Buffer.concat([
      requestBytes({ type: CMD.WRITE, offset: 100, payload, cookie: 1n }),
      requestBytes({ type: CMD.READ, offset: 100, length: payload.length, cookie: 2n }),
      requestBytes({ type: CMD.FLUSH, cookie: 3n }),
    ]);
    for (const parts of splitsOf(bytes)) {
      const { client, connection } = await transmitting(t);
      for (const part of parts) {
        client.write(part);
        if (parts.length === 2) await settle();
      }
      t.match(await client.readSimple(), { error: 0, cookie: 1n });
      const read = await client.readSimple(payload.length);
      if (read.cookie !== 2n || !read.payload.equals(payload)) t.fail(`in ${parts.length} pieces`);
      t.match(await client.readSimple(), { error: 0, cookie: 3n });
      connection.close();
    }
  },
);

t.test('[nbd: Error values; nbd-rule 24] past the end: EINVAL for reading, ENOSPC for writing', async (t) => {
  const { client } = await transmitting(t);
  const ranges = [
    { offset: SIZE, length: 1 },
    { offset: SIZE - 1, length: 2 },
    { offset: 2n ** 64n - 1n, length: 1 },
    { offset: 2n ** 64n - 2n, length: 3 },
    { offset: 2n ** 53n, length: 1 },
    { offset: 2n ** 53n + BigInt(SIZE) - 1n, length: 1 },
    { offset: 0, length: 2 ** 32 - 1 },
  ];
  for (const type of [CMD.READ, CMD.TRIM, CMD.CACHE]) {
    const errors = await errorsOf(
      client,
      ranges.map((range) => ({ type, ...range })),
    );
    t.same(
      errors,
      ranges.map(() => ERR.EINVAL),
      `command ${type}`,
    );
  }
  t.same(
    await errorsOf(
      client,
      ranges.map((range) => ({ type: CMD.WRITE_ZEROES, ...range })),
    ),
    ranges.map(() => ERR.ENOSPC),
  );
  const writes = ranges.slice(0, -1).map(({ offset, length }) => ({
    type: CMD.WRITE,
    offset,
    payload: Buffer.alloc(length, 0xaa),
  }));
  t.same(
    await errorsOf(client, writes),
    writes.map(() => ERR.ENOSPC),
  );
  t.same(
    await errorsOf(client, [{ type: CMD.READ, offset: SIZE - 512, length: 512 }]),
    [0],
    'the very end is there',
  );
});

t.test(
  '[nbd: NBD_FLAG_READ_ONLY; nbd-rule 13, 24] a read-only export: EPERM, also past the end',
  async (t) => {
    const { client } = await transmitting(t, { sizeBytes: SIZE, read: () => [] });
    t.same(
      await errorsOf(client, [
        { type: CMD.WRITE, payload: Buffer.alloc(512) },
        { type: CMD.WRITE, offset: SIZE, payload: Buffer.alloc(512) },
        { type: CMD.TRIM, length: 512 },
        { type: CMD.WRITE_ZEROES, length: 512 },
        { type: CMD.FLUSH },
      ]),
      [ERR.EPERM, ERR.EPERM, ERR.EPERM, ERR.EPERM, 0],
    );
  },
);

t.test(
  '[nbd: NBD_CMD_WRITE; nbd-rule 23] a refused WRITE swallows its payload, and no other command has one',
  async (t) => {
    const device = new MemoryDevice(SIZE);
    const { client } = await transmitting(t, device);
    const payload = Buffer.concat([requestBytes({ type: CMD.TRIM, length: SIZE }), Buffer.alloc(100_000)]);
    device.write(0, Buffer.from('still here'));
    client.send({ type: CMD.WRITE, offset: SIZE, payload, cookie: 1n });
    t.match(await client.readSimple(), { error: ERR.ENOSPC, cookie: 1n });
    client.send({ type: CMD.WRITE, flags: 1 << 9, payload, cookie: 2n });
    t.match(await client.readSimple(), { error: ERR.EINVAL, cookie: 2n });
    client.send({ type: CMD.READ, length: 10, cookie: 3n });
    t.equal((await client.readSimple(10)).payload.toString(), 'still here');
  },
);

t.test(
  '[nbd: Block size constraints] payloads are bounded, and beyond twice that the client is hung up on',
  async (t) => {
    const limits = { payloadBytesMax: 1000, refusedPayloadBytesMax: 2000 };
    const { client, log } = await transmitting(t, new MemoryDevice(SIZE), { limits });
    t.same(
      await errorsOf(client, [
        { type: CMD.READ, length: 1001 },
        { type: CMD.WRITE, payload: Buffer.alloc(1001) },
        { type: CMD.WRITE, payload: Buffer.alloc(1000) },
        { type: CMD.READ, length: 1000 },
      ]),
      [ERR.EINVAL, ERR.EINVAL, 0, 0],
    );
    client.send({ type: CMD.WRITE, length: 2001 });
    await client.ended;
    t.match(log.at('info'), [{}, { message: 'a client broke the protocol' }]);
  },
);

t.test(
  '[nbd: Command flags; nbd-rule 25, 26] FUA goes with everything, other flags where they are documented',
  async (t) => {
    const { client } = await transmitting(t);
    t.same(
      await errorsOf(client, [
        { type: CMD.READ, flags: FLAG.FUA, length: 512 },
        { type: CMD.WRITE, flags: FLAG.FUA, payload: Buffer.alloc(512) },
        { type: CMD.FLUSH, flags: FLAG.FUA },
        { type: CMD.TRIM, flags: FLAG.FUA, length: 512 },
        { type: CMD.CACHE, flags: FLAG.FUA, length: 512 },
        { type: CMD.WRITE_ZEROES, flags: FLAG.FUA | FLAG.NO_HOLE | FLAG.FAST_ZERO, length: 512 },
      ]),
      [0, 0, 0, 0, 0, 0],
    );
    const undocumented = [
      { type: CMD.READ, flags: FLAG.DF, length: 512 },
      { type: CMD.READ, flags: FLAG.NO_HOLE, length: 512 },
      { type: CMD.WRITE, flags: FLAG.NO_HOLE, payload: Buffer.alloc(512) },
      { type: CMD.WRITE, flags: FLAG.PAYLOAD_LEN, payload: Buffer.alloc(512) },
      { type: CMD.TRIM, flags: FLAG.NO_HOLE, length: 512 },
      { type: CMD.CACHE, flags: FLAG.REQ_ONE, length: 512 },
      { type: CMD.WRITE_ZEROES, flags: FLAG.REQ_ONE, length: 512 },
      { type: CMD.FLUSH, flags: FLAG.DF },
      { type: CMD.READ, flags: 1 << 15, length: 512 },
    ];
    t.same(
      await errorsOf(client, undocumented),
      undocumented.map(() => ERR.EINVAL),
    );
  },
);

t.test('[nbd: Error values; nbd-rule 26] an unknown command: EINVAL, connection kept', async (t) => {
  const { client } = await transmitting(t);
  t.same(
    await errorsOf(client, [
      { type: 8, length: 512 },
      { type: 9, length: 2 ** 32 - 1 },
      { type: 65_535 },
      { type: CMD.BLOCK_STATUS, length: 512 },
      { type: CMD.FLUSH, length: 1 },
      { type: CMD.FLUSH, offset: 1 },
      { type: CMD.FLUSH },
    ]),
    [ERR.EINVAL, ERR.EINVAL, ERR.EINVAL, ERR.EINVAL, ERR.EINVAL, ERR.EINVAL, 0],
  );
});

t.test('[nbd-rule 26] a command that was not advertised: EINVAL', async (t) => {
  const { client } = await transmitting(t, {
    sizeBytes: SIZE,
    read: () => [],
    write: () => undefined,
    zero: () => undefined,
  });
  t.same(
    await errorsOf(client, [
      { type: CMD.TRIM, length: 512 },
      { type: CMD.CACHE, length: 512 },
      { type: CMD.WRITE_ZEROES, length: 512, flags: FLAG.FAST_ZERO },
      { type: CMD.WRITE_ZEROES, length: 512 },
    ]),
    [ERR.EINVAL, ERR.EINVAL, ERR.EINVAL, 0],
  );
});

t.test('[nbd: NBD_CMD_READ; nbd-rule 22] a read is fetched before its reply begins', async (t) => {
  const device = new SlowDevice();
  const { client } = await transmitting(t, device);
  client.send({ type: CMD.READ, length: 100_000, cookie: 1n });
  await settle();
  t.equal(client.pendingBytes, 0);
  device.take().reject(new DeviceError('EIO', 'the block could not be had'));
  t.match(await client.readSimple(100_000), { error: ERR.EIO, cookie: 1n });
  client.send({ type: CMD.FLUSH, cookie: 2n });
  await settle();
  device.take().resolve();
  t.match(await client.readSimple(), { error: 0, cookie: 2n }, 'the connection lives on');
});

t.test(
  '[nbd: Transmission; nbd-rule 34] replies come when they are ready, each with its cookie and whole',
  async (t) => {
    const device = new SlowDevice();
    const { client } = await transmitting(t, device);
    const cookies = [0xffff_ffff_ffff_ffffn, 0n, 0x8000_0000_0000_0000n, 0x1234_5678_9abc_def0n];
    client.send(
      ...cookies.map((cookie, index) => ({
        type: CMD.READ,
        cookie,
        offset: index * 100_000,
        length: 100_000,
      })),
    );
    await settle();
    for (const index of [2, 0, 3, 1]) {
      const [request] = device.waiting.filter(({ offset }) => offset === index * 100_000);
      request!.resolve([Buffer.alloc(50_000, index), Buffer.alloc(50_000, index)]);
      const reply = await client.readSimple(100_000);
      t.equal(reply.cookie, cookies[index]);
      t.ok(reply.payload.equals(Buffer.alloc(100_000, index)));
    }
  },
);

t.test('[nbd: Error values; nbd-rule 36] whatever a device throws becomes one of eight errors', async (t) => {
  const thrown: unknown[] = [
    new DeviceError('EPERM', 'a'),
    new DeviceError('EIO', 'b'),
    new DeviceError('ENOMEM', 'c'),
    new DeviceError('EINVAL', 'd'),
    new DeviceError('ENOSPC', 'e'),
    new DeviceError('EOVERFLOW', 'only for DF'),
    new DeviceError('ENOTSUP', 'only for FAST_ZERO'),
    new DeviceError('ESHUTDOWN', 'f'),
    new TypeError('the real reason'),
    'a string',
    undefined,
  ];
  const expected = [1, 5, 12, 22, 28, 5, 5, 108, 5, 5, 5];
  for (const isSync of [true, false]) {
    let next = 0;
    const fail = (): never => {
      throw thrown[next++];
    };
    const device = { sizeBytes: SIZE, read: isSync ? fail : async () => fail() };
    const { client, log } = await transmitting(t, device);
    t.same(
      await errorsOf(
        client,
        thrown.map(() => ({ type: CMD.READ, length: 512 })),
      ),
      expected,
    );
    const warned = log.at('warn');
    t.equal(warned.length, thrown.length, 'each with one line');
    t.match(warned[8], { fields: { command: 'READ', lengthBytes: 512, error: 'the real reason' } });
  }
});

t.test('a failure that is like the one before is written once a second, and counted', async (t) => {
  const device = {
    sizeBytes: SIZE,
    read: () => {
      throw new Error('out of order');
    },
  };
  const { client, clock, log } = await transmitting(t, device);
  const requests = Array.from({ length: 100 }, () => ({ type: CMD.READ, length: 512 }));
  await errorsOf(client, requests);
  await clock.advance(1000);
  await errorsOf(client, requests.slice(0, 2));
  t.strictSame(
    log.at('warn').map(({ fields }) => fields.failuresBefore),
    [undefined, 99],
  );
});

t.test('a device that returns the wrong number of bytes: EIO, never a short reply', async (t) => {
  for (const result of [[], [Buffer.alloc(511)], [Buffer.alloc(512), { zeroBytes: 1 }]]) {
    const { client, log } = await transmitting(t, { sizeBytes: SIZE, read: () => result });
    t.same(await errorsOf(client, [{ type: CMD.READ, length: 512 }]), [ERR.EIO]);
    t.match(log.at('warn'), [{ fields: { error: /bytes for a read of 512/ } }]);
  }
});

t.test('[nbd: NBD_CMD_WRITE_ZEROES; nbd-rule 29] up to 4 GiB - 1 at once, the whole range', async (t) => {
  const device = new MemoryDevice(2 ** 33);
  device.write(0, Buffer.from('a'));
  device.write(2 ** 32 - 2, Buffer.from('bc'));
  const { client } = await transmitting(t, device);
  t.same(
    await errorsOf(client, [
      { type: CMD.WRITE_ZEROES, length: 2 ** 32 - 1 },
      { type: CMD.TRIM, offset: 2 ** 32, length: 2 ** 32 - 1 },
      { type: CMD.CACHE, length: 2 ** 32 - 1 },
    ]),
    [0, 0, 0],
  );
  client.send({ type: CMD.READ, offset: 2 ** 32 - 2, length: 2 });
  t.equal((await client.readSimple(2)).payload.toString(), '\0c');
});

t.test(
  '[nbd: NBD_CMD_FLAG_FAST_ZERO; nbd-rule 30] ENOTSUP at once where it would be slow, never without the flag',
  async (t) => {
    const zeroed: ZeroOptions[] = [];
    const device: BlockDevice = {
      sizeBytes: SIZE,
      fastZero: true,
      read: () => [],
      write: () => undefined,
      zero: (_offset, _length, options) => {
        zeroed.push(options ?? {});
        if (options?.fastOnly === true) throw new DeviceError('ENOTSUP', 'not fast');
      },
    };
    const { client } = await transmitting(t, device);
    t.same(
      await errorsOf(client, [
        { type: CMD.WRITE_ZEROES, flags: FLAG.FAST_ZERO, length: 512 },
        { type: CMD.WRITE_ZEROES, length: 512 },
        { type: CMD.WRITE_ZEROES, flags: FLAG.NO_HOLE | FLAG.FUA, length: 512 },
      ]),
      [ERR.ENOTSUP, 0, 0],
    );
    t.match(zeroed, [{ fastOnly: true }, {}, { noHole: true, fastOnly: false, fua: true }]);
  },
);

t.test(
  '[nbd: NBD_CMD_FLAG_FUA; nbd-rule 31] is passed on with WRITE, TRIM and WRITE_ZEROES, and FLUSH awaited',
  async (t) => {
    const seen: string[] = [];
    const note = (what: string) => (_offset: number, _data: unknown, options?: WriteOptions) => {
      seen.push(`${what} ${options?.fua === true}`);
    };
    const device = {
      sizeBytes: SIZE,
      read: () => [],
      write: note('write'),
      trim: note('trim'),
      zero: note('zero'),
      flush: async () => void seen.push('flush'),
    };
    const { client } = await transmitting(t, device);
    const payload = Buffer.alloc(1);
    await errorsOf(client, [
      { type: CMD.WRITE, payload },
      { type: CMD.WRITE, payload, flags: FLAG.FUA },
      { type: CMD.TRIM, length: 1, flags: FLAG.FUA },
      { type: CMD.WRITE_ZEROES, length: 1, flags: FLAG.FUA },
      { type: CMD.FLUSH },
    ]);
    t.strictSame(seen, ['write false', 'write true', 'trim true', 'zero true', 'flush']);
  },
);

t.test(
  '[nbd: NBD_CMD_DISC; nbd-rule 33] what is outstanding is finished and sent, then the end',
  async (t) => {
    const device = new SlowDevice();
    const { client, connection, exports } = await transmitting(t, device);
    client.send(
      { type: CMD.READ, length: 200_000, cookie: 1n },
      { type: CMD.WRITE, payload: Buffer.alloc(10), cookie: 2n },
      { type: CMD.DISC },
      { type: CMD.READ, length: 512, cookie: 3n },
    );
    await settle();
    t.equal(device.waiting.length, 2, 'nothing is read behind DISC');
    device.take().resolve();
    t.match(await client.readSimple(200_000), { error: 0, cookie: 1n });
    device.take().resolve();
    t.match(await client.readSimple(), { error: 0, cookie: 2n });
    await client.ended;
    t.equal(client.pendingBytes, 0);
    client.stream.end();
    await connection.closed;
    t.equal(exports.leaseCount, 0);
  },
);

t.test('[nbd-rule 40] a request of length 0 does no harm', async (t) => {
  const calls: string[] = [];
  const never = (): never => {
    calls.push('called');
    throw new Error('called');
  };
  const device = { sizeBytes: SIZE, read: never, write: never, trim: never, zero: never, cache: never };
  const { client } = await transmitting(t, device);
  t.same(
    await errorsOf(client, [
      { type: CMD.READ },
      { type: CMD.WRITE },
      { type: CMD.TRIM },
      { type: CMD.WRITE_ZEROES },
      { type: CMD.CACHE },
      { type: CMD.READ, offset: SIZE },
      { type: CMD.READ, offset: SIZE + 1 },
      { type: CMD.BLOCK_STATUS },
    ]),
    [0, 0, 0, 0, 0, 0, ERR.EINVAL, ERR.EINVAL],
  );
  t.strictSame(calls, []);
});

t.test('a wrong magic number ends the connection', async (t) => {
  const { client, connection } = await transmitting(t);
  client.write(Buffer.alloc(28, 0x25));
  await client.ended;
  client.stream.end();
  await connection.closed;
});
