// Requests as clients with structured replies, and with extended headers, see them.
import t from 'tap';
import type { BlockDevice, ExtentOptions, ReadResult } from '../../../src/device/block-device.js';
import { DeviceError } from '../../../src/device/device-error.js';
import { MemoryDevice } from '../../../src/device/memory-device.js';
import { CMD, contextData, ERR, FLAG, OPT, u32, u64, type RequestParts } from '../../fixtures/nbd-bytes.js';
import { openClient, type TestConnection } from '../../fixtures/nbd-connection.js';
import type { RawNbdClient, ReplyPart } from '../../fixtures/nbd-raw-client.js';
import { seededBytes, seededNumbers, freshSeed } from '../../fixtures/seeded.js';

const SIZE = 2 ** 20;
/** Of the device in memory: what it allocates at once. */
const PAGE = 2 ** 18;
const OFFSET_DATA = 1;
const OFFSET_HOLE = 2;
const BLOCK_STATUS = 5;
const BLOCK_STATUS_EXT = 6;
const ERROR = 0x8001;
const ERROR_OFFSET = 0x8002;

interface Opened extends TestConnection {
  readonly client: RawNbdClient;
  /** Sends a request and gives the chunks of its reply. */
  readonly ask: (request: RequestParts) => Promise<ReplyPart[]>;
}

async function transmitting(
  t: Parameters<typeof openClient>[0],
  style: 'structured' | 'extended',
  device: BlockDevice = new MemoryDevice(SIZE),
  contexts: readonly string[] = ['base:allocation'],
): Promise<Opened> {
  const opened = await openClient(t, { devices: { disk: device } });
  const { client } = opened;
  await client.option(style === 'structured' ? OPT.STRUCTURED_REPLY : OPT.EXTENDED_HEADERS);
  if (contexts.length > 0) await client.option(OPT.SET_META_CONTEXT, contextData('disk', contexts));
  await client.go('disk');
  const ask = async (request: RequestParts): Promise<ReplyPart[]> => {
    if (style === 'structured') client.send({ cookie: 77n, ...request });
    else client.sendExtended({ cookie: 77n, ...request });
    const chunks = await client.readChunks();
    t.equal(
      chunks.every(({ cookie }) => cookie === 77n),
      true,
      'the cookie comes back',
    );
    if (style === 'extended') {
      const offset = BigInt(request.offset ?? 0);
      t.equal(
        chunks.every((chunk) => chunk.offset === offset),
        true,
        'the offset comes back',
      );
    }
    return chunks;
  };
  return { ...opened, ask };
}

/** A chunk in few words: what it is, and the range that it is about. */
function briefly({ type, payload }: ReplyPart): unknown[] {
  if (type === OFFSET_DATA) return ['data', Number(payload.readBigUInt64BE(0)), payload.length - 8];
  if (type === OFFSET_HOLE) return ['hole', Number(payload.readBigUInt64BE(0)), payload.readUInt32BE(8)];
  if (type === ERROR) return ['error', payload.readUInt32BE(0)];
  if (type === ERROR_OFFSET) {
    return ['error', payload.readUInt32BE(0), Number(payload.readBigUInt64BE(payload.length - 8))];
  }
  return [type];
}

/** The extents of a chunk by context. */
function extentsOf({ type, payload }: ReplyPart): { id: number; extents: [number, number][] } {
  const extents: [number, number][] = [];
  if (type === BLOCK_STATUS) {
    for (let at = 4; at < payload.length; at += 8)
      extents.push([payload.readUInt32BE(at), payload.readUInt32BE(at + 4)]);
  } else if (type === BLOCK_STATUS_EXT) {
    for (let at = 8; at < payload.length; at += 16) {
      extents.push([Number(payload.readBigUInt64BE(at)), Number(payload.readBigUInt64BE(at + 8))]);
    }
  }
  return { id: payload.readUInt32BE(0), extents };
}

/** What the content chunks of a read add up to; undefined where they leave a gap or overlap. */
function assemble(chunks: readonly ReplyPart[], offset: number, lengthBytes: number): Buffer | undefined {
  const bytes = Buffer.alloc(lengthBytes);
  const covered = Buffer.alloc(lengthBytes);
  for (const chunk of chunks) {
    const [kind, at, length] = briefly(chunk) as [string, number, number];
    if (kind === 'data') chunk.payload.copy(bytes, at - offset, 8);
    else if (kind !== 'hole') return undefined;
    for (let index = at - offset; index < at - offset + length; index += 1) covered[index]! += 1;
  }
  return covered.every((count) => count === 1) ? bytes : undefined;
}

for (const style of ['structured', 'extended'] as const) {
  const readFlags = 0;
  const writeFlags = style === 'extended' ? FLAG.PAYLOAD_LEN : 0;

  t.test(
    `${style}: [nbd: NBD_CMD_READ; nbd-rule 28] chunks cover a read exactly once, DONE on the last only`,
    async (t) => {
      const seed = freshSeed();
      t.comment(`seed: ${seed}`);
      const random = seededNumbers(seed);
      const device = new MemoryDevice(2 ** 22);
      const model = Buffer.alloc(2 ** 22);
      for (let index = 0; index < 12; index += 1) {
        const data = seededBytes(`${seed}${index}`, 1 + random(100_000));
        const offset = random(2 ** 22 - data.length);
        device.write(offset, data);
        data.copy(model, offset);
      }
      const { ask } = await transmitting(t, style, device);
      for (let round = 0; round < 100; round += 1) {
        const offset = random(2 ** 22);
        const length = 1 + random(Math.min(2 ** 22 - offset, 600_000));
        const flags = random(4) === 0 ? FLAG.DF : readFlags;
        const chunks = await ask({ type: CMD.READ, offset, length, flags });
        const bytes = assemble(chunks, offset, length);
        if (bytes?.equals(model.subarray(offset, offset + length)) !== true) t.fail(`${length} at ${offset}`);
        if (flags === FLAG.DF && chunks.length !== 1) t.fail('DF, and more than one chunk');
        if (chunks.slice(0, -1).some((chunk) => chunk.flags !== 0)) t.fail('DONE before the end');
      }
    },
  );

  t.test(`${style}: [nbd: NBD_REPLY_TYPE_OFFSET_HOLE] zeros are holes, in reads of every size`, async (t) => {
    const device = new MemoryDevice(SIZE);
    device.write(PAGE, Buffer.alloc(PAGE, 1));
    const { ask } = await transmitting(t, style, device);
    const read = async (offset: number, length: number, flags = 0): Promise<unknown[]> =>
      (await ask({ type: CMD.READ, offset, length, flags })).map(briefly);
    t.strictSame(await read(0, 4096), [['hole', 0, 4096]]);
    t.strictSame(await read(PAGE - 5536, 10_000), [
      ['hole', PAGE - 5536, 5536],
      ['data', PAGE, 4464],
    ]);
    t.strictSame(await read(0, SIZE), [
      ['hole', 0, PAGE],
      ['data', PAGE, PAGE],
      ['hole', 2 * PAGE, SIZE - 2 * PAGE],
    ]);
    t.strictSame(await read(PAGE - 1, 2), [['data', PAGE - 1, 2]], 'too short for a chunk of its own');
    t.strictSame(await read(0, SIZE, FLAG.DF), [['data', 0, SIZE]], 'DF writes zeros out [nbd-rule 27]');
    t.strictSame(await read(0, 512, FLAG.DF), [['data', 0, 512]]);
  });

  t.test(
    `${style}: [nbd: NBD_CMD_FLAG_DF; nbd-rule 27] one content chunk, whatever the device returns`,
    async (t) => {
      const result: ReadResult = [
        Buffer.from('ab'),
        { zeroBytes: 70_000 },
        Buffer.from('c'),
        Buffer.alloc(40_000, 100),
      ];
      const length = 110_003;
      const { ask } = await transmitting(t, style, { sizeBytes: SIZE, read: () => result }, []);
      const whole = await ask({ type: CMD.READ, length, flags: FLAG.DF });
      t.strictSame(whole.map(briefly), [['data', 0, length]]);
      t.equal(whole[0]!.payload.subarray(8, 11).toString(), 'ab\0');
      const parts = await ask({ type: CMD.READ, length });
      t.strictSame(parts.map(briefly), [
        ['data', 0, 2],
        ['hole', 2, 70_000],
        ['data', 70_002, 40_001],
      ]);
      t.ok(assemble(parts, 0, length)?.equals(assemble(whole, 0, length)!));
    },
  );

  t.test(`${style}: [nbd-rule 21] READ is answered in chunks whatever becomes of it`, async (t) => {
    const { ask } = await transmitting(t, style);
    const errorOf = async (request: RequestParts): Promise<unknown> => briefly((await ask(request))[0]!);
    t.strictSame(await errorOf({ type: CMD.READ, offset: SIZE, length: 1 }), ['error', ERR.EINVAL]);
    t.strictSame(await errorOf({ type: CMD.READ, length: 1, flags: FLAG.NO_HOLE }), ['error', ERR.EINVAL]);
    t.strictSame(await errorOf({ type: CMD.READ, length: 2 ** 27 }), ['error', ERR.EINVAL]);
    t.strictSame(await errorOf({ type: CMD.READ, length: 0 }), [0], 'nothing to read: NONE [nbd-rule 40]');
  });

  t.test(
    `${style}: [nbd: NBD_REPLY_TYPE_ERROR] says what went wrong in words, and where if that is known`,
    async (t) => {
      const thrown = [
        new DeviceError('EIO', 'block 7 is damaged', { offset: 1000 }),
        new DeviceError('EIO', 'no such place', { offset: 9999 }),
        new Error('a secret'),
      ];
      const device = {
        sizeBytes: SIZE,
        read: () => {
          throw thrown.shift()!;
        },
      };
      const { ask } = await transmitting(t, style, device, []);
      const request = { type: CMD.READ, offset: 500, length: 1000 };
      const [first] = await ask(request);
      t.strictSame(briefly(first!), ['error', ERR.EIO, 1000]);
      t.match(first!.payload.toString(), /block 7 is damaged/);
      t.strictSame(
        (await ask(request)).map(briefly),
        [['error', ERR.EIO]],
        'an offset elsewhere is left out',
      );
      const [last] = await ask(request);
      t.notMatch(last!.payload.toString(), /secret/);
    },
  );

  t.test(
    `${style}: [nbd: NBD_CMD_FLAG_DF] EOVERFLOW and ENOTSUP only where they belong [nbd-rule 36]`,
    async (t) => {
      const device = {
        sizeBytes: SIZE,
        read: () => {
          throw new DeviceError('EOVERFLOW', 'too long in one piece');
        },
      };
      const { ask } = await transmitting(t, style, device, []);
      t.strictSame((await ask({ type: CMD.READ, length: 9, flags: FLAG.DF })).map(briefly), [['error', 75]]);
      t.strictSame((await ask({ type: CMD.READ, length: 9 })).map(briefly), [['error', ERR.EIO]]);
    },
  );

  t.test(`${style}: the other commands`, async (t) => {
    const { ask } = await transmitting(t, style);
    const payload = Buffer.from('written');
    t.strictSame((await ask({ type: CMD.WRITE, offset: 5, payload, flags: writeFlags })).map(briefly), [[0]]);
    for (const type of [CMD.TRIM, CMD.WRITE_ZEROES, CMD.CACHE]) {
      t.strictSame((await ask({ type, offset: 100_000, length: 5 })).map(briefly), [[0]]);
    }
    t.strictSame((await ask({ type: CMD.FLUSH })).map(briefly), [[0]]);
    const [read] = await ask({ type: CMD.READ, offset: 5, length: 7 });
    t.equal(read!.payload.toString('latin1', 8), 'written');
    t.strictSame((await ask({ type: 99 })).map(briefly), [['error', ERR.EINVAL]]);
  });

  t.test(
    `${style}: [nbd: NBD_CMD_BLOCK_STATUS; nbd-rule 32] extents cover the range from its start`,
    async (t) => {
      const device = new MemoryDevice(SIZE);
      device.write(PAGE, Buffer.alloc(1, 1));
      const { ask } = await transmitting(t, style, device);
      const status = async (request: Partial<RequestParts>): Promise<unknown> => {
        const chunks = await ask({ type: CMD.BLOCK_STATUS, ...request });
        t.equal(chunks.length, 1, 'one chunk for each context');
        return extentsOf(chunks[0]!).extents;
      };
      t.strictSame(await status({ length: SIZE }), [
        [PAGE, 3],
        [PAGE, 0],
        [SIZE - 2 * PAGE, 3],
      ]);
      t.strictSame(await status({ offset: PAGE + 1, length: 1 }), [[1, 0]]);
      t.strictSame(await status({ length: SIZE, flags: FLAG.REQ_ONE }), [[PAGE, 3]]);
      t.strictSame(
        await status({ offset: 1, length: 10, flags: FLAG.REQ_ONE }),
        [[10, 3]],
        'not past the request',
      );
      const past = await ask({ type: CMD.BLOCK_STATUS, offset: 1, length: SIZE });
      t.strictSame(past.map(briefly), [['error', ERR.EINVAL]]);
      t.strictSame((await ask({ type: CMD.BLOCK_STATUS })).map(briefly), [['error', ERR.EINVAL]]);
    },
  );

  t.test(`${style}: [nbd-rule 32] one chunk for each context, whether it is at hand or not`, async (t) => {
    const source = (flags: number, isLate: boolean) => ({
      extents: (_offset: number, lengthBytes: number) => {
        const extents = [
          { lengthBytes: 1, flags },
          { lengthBytes: lengthBytes - 1, flags },
        ];
        return isLate ? Promise.resolve(extents) : extents;
      },
    });
    for (const isLate of [false, true]) {
      const device: BlockDevice = {
        sizeBytes: SIZE,
        read: () => [],
        metaContexts: new Map([
          ['qemu:dirty-bitmap:b', source(1, isLate)],
          ['qemu:allocation-depth', source(7, false)],
        ]),
      };
      const { ask } = await transmitting(t, style, device, ['qemu:dirty-bitmap:b', 'qemu:allocation-depth']);
      const chunks = await ask({ type: CMD.BLOCK_STATUS, length: 1000 });
      t.strictSame(chunks.map(extentsOf), [
        { id: 1, extents: [[1000, 1]] },
        { id: 2, extents: [[1000, 7]] },
      ]);
    }
  });

  t.test(
    `${style}: [nbd-rule 32; CVE-2025-47711, CVE-2025-47712] a device's wrong extents are not passed on`,
    async (t) => {
      const wrong = [
        [],
        [{ lengthBytes: 0, flags: 0 }],
        [{ lengthBytes: 1001, flags: 0 }],
        [{ lengthBytes: 2 ** 32, flags: 0 }],
        [{ lengthBytes: 1, flags: -1 }],
        Array.from({ length: 20_000 }, (_, index) => ({ lengthBytes: 0.01, flags: index % 2 })),
      ];
      for (const extents of wrong) {
        const device = { sizeBytes: SIZE, read: () => [], extents: () => extents };
        const { ask, log } = await transmitting(t, style, device);
        const chunks = await ask({ type: CMD.BLOCK_STATUS, length: 1000 });
        t.strictSame(chunks.map(briefly), [['error', ERR.EIO]]);
        t.equal(log.at('warn').length, 1);
      }
    },
  );

  t.test(`${style}: [nbd-rule 32] the number of extents is bounded, and one fails as all fail`, async (t) => {
    let asked: ExtentOptions | undefined;
    const device = {
      sizeBytes: SIZE,
      read: () => [],
      extents: (_offset: number, lengthBytes: number, options: ExtentOptions) => {
        asked = options;
        return [{ lengthBytes, flags: 0 }];
      },
      metaContexts: new Map([
        ['x-fails:late', { extents: () => Promise.reject(new DeviceError('EIO', 'late')) }],
        [
          'x-fails:now',
          {
            extents: () => {
              throw new DeviceError('ENOMEM', 'now');
            },
          },
        ],
      ]),
    };
    const { ask } = await transmitting(t, style, device);
    await ask({ type: CMD.BLOCK_STATUS, length: SIZE });
    t.ok(asked!.extentsMax <= 2 ** 20);
    const failing = await transmitting(t, style, device, ['x-fails:late', 'x-fails:now']);
    t.strictSame((await failing.ask({ type: CMD.BLOCK_STATUS, length: 5 })).map(briefly), [
      ['error', ERR.EIO],
    ]);
  });
}

t.test('[nbd-rule 18] extended: lengths of 64 bits, where there is no payload [nbd-rule 29]', async (t) => {
  const device = new MemoryDevice(2 ** 46);
  device.write(2 ** 45, Buffer.alloc(10, 1));
  const { ask } = await transmitting(t, 'extended', device);
  const [status] = await ask({ type: CMD.BLOCK_STATUS, length: 2 ** 46 });
  t.strictSame(extentsOf(status!).extents, [
    [2 ** 45, 3],
    [PAGE, 0],
    [2 ** 45 - PAGE, 3],
  ]);
  for (const type of [CMD.CACHE, CMD.WRITE_ZEROES, CMD.TRIM]) {
    t.strictSame((await ask({ type, length: 2 ** 46 })).map(briefly), [[0]]);
  }
  t.equal(device.allocatedBytes, 0);
  for (const length of [2n ** 46n + 1n, 2n ** 53n, 2n ** 64n - 1n]) {
    for (const type of [CMD.READ, CMD.TRIM, CMD.CACHE, CMD.BLOCK_STATUS]) {
      t.strictSame((await ask({ type, length })).map(briefly), [['error', ERR.EINVAL]], `${type} ${length}`);
    }
    t.strictSame((await ask({ type: CMD.WRITE_ZEROES, length })).map(briefly), [['error', ERR.ENOSPC]]);
  }
});

t.test('[nbd-rule 18] extended: payload on other commands is consumed, then EINVAL', async (t) => {
  const { ask } = await transmitting(t, 'extended');
  const payload = Buffer.alloc(100_000, 0x21);
  for (const type of [CMD.READ, CMD.FLUSH, CMD.TRIM, CMD.CACHE, CMD.WRITE_ZEROES, 99]) {
    const chunks = await ask({ type, payload, flags: FLAG.PAYLOAD_LEN });
    t.strictSame(chunks.map(briefly), [['error', ERR.EINVAL]], `command ${type}`);
  }
  t.strictSame((await ask({ type: CMD.FLUSH })).map(briefly), [[0]], 'the place is kept');
});

t.test(
  '[nbd: NBD_CMD_FLAG_PAYLOAD_LEN] extended: a WRITE without it has its payload all the same',
  async (t) => {
    const { ask } = await transmitting(t, 'extended');
    t.strictSame((await ask({ type: CMD.WRITE, payload: Buffer.from('qemu') })).map(briefly), [[0]]);
    const [read] = await ask({ type: CMD.READ, length: 4 });
    t.equal(read!.payload.toString('latin1', 8), 'qemu');
  },
);

t.test('[nbd: NBD_FLAG_BLOCK_STATUS_PAYLOAD; nbd-rule 18] extended: contexts by payload', async (t) => {
  const device = new (class extends MemoryDevice {
    readonly metaContexts = new Map([
      ['x-a:b', { extents: (_offset: number, lengthBytes: number) => [{ lengthBytes, flags: 9 }] }],
    ]);
  })(SIZE);
  const { ask } = await transmitting(t, 'extended', device, ['base:allocation', 'x-a:b']);
  const status = async (
    payload: Buffer,
    offset = 0,
    flags: number = FLAG.PAYLOAD_LEN,
  ): Promise<ReplyPart[]> => ask({ type: CMD.BLOCK_STATUS, offset, payload, flags });
  t.strictSame((await status(Buffer.concat([u64(SIZE), u32(2)]))).map(extentsOf), [
    { id: 2, extents: [[SIZE, 9]] },
  ]);
  const both = await status(Buffer.concat([u64(100), u32(2), u32(1)]), 5, FLAG.PAYLOAD_LEN | FLAG.REQ_ONE);
  t.strictSame(both.map(extentsOf), [
    { id: 1, extents: [[100, 3]] },
    { id: 2, extents: [[100, 9]] },
  ]);
  const bad = {
    'no context': u64(SIZE),
    'an unknown context': Buffer.concat([u64(SIZE), u32(3)]),
    'a context twice': Buffer.concat([u64(SIZE), u32(1), u32(1)]),
    'one unknown beside a known one': Buffer.concat([u64(SIZE), u32(1), u32(0)]),
    'a length that is cut': Buffer.alloc(7),
    'an id that is cut': Buffer.alloc(10),
    'a range past the end': Buffer.concat([u64(SIZE + 1), u32(1)]),
    'a range of 2^64 - 1': Buffer.concat([u64(2n ** 64n - 1n), u32(1)]),
    'an empty range': Buffer.concat([u64(0), u32(1)]),
    'far too many contexts': Buffer.alloc(100_000),
  };
  for (const [what, payload] of Object.entries(bad)) {
    t.strictSame((await status(payload)).map(briefly), [['error', ERR.EINVAL]], what);
  }
  const none = await transmitting(t, 'extended', device, []);
  t.strictSame(
    (
      await none.ask({
        type: CMD.BLOCK_STATUS,
        payload: Buffer.concat([u64(1), u32(1)]),
        flags: FLAG.PAYLOAD_LEN,
      })
    ).map(briefly),
    [['error', ERR.EINVAL]],
    'not advertised',
  );
});

t.test('[nbd-rule 18] compact and extended requests do not mix', async (t) => {
  const { client } = await transmitting(t, 'extended');
  client.send({ type: CMD.FLUSH }, { type: CMD.FLUSH });
  await client.ended;
  const other = await transmitting(t, 'structured');
  other.client.sendExtended({ type: CMD.FLUSH });
  await other.client.ended;
});
