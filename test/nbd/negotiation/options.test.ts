// The handshake as a client sees it, over a stream without a socket.
import t from 'tap';
import { MemoryDevice } from '../../../src/device/memory-device.js';
import { ExportRefusalKind, ExportRefusedError } from '../../../src/nbd/export-table.js';
import { infoData, OPT, optionBytes, REP, u32 } from '../../fixtures/nbd-bytes.js';
import { FixedExports, openClient, openConnection } from '../../fixtures/nbd-connection.js';
import { RawNbdClient } from '../../fixtures/nbd-raw-client.js';
import { settle } from '../../fixtures/manual-clock.js';

const MIB = 2 ** 20;

/** The type of the last answer, and what it says. */
async function lastOf(
  answers: Promise<{ type: number; data: Buffer }[]>,
): Promise<{ type: number; text: string }> {
  const last = (await answers).at(-1)!;
  return { type: last.type, text: last.data.toString() };
}

t.test('[nbd: Newstyle negotiation] greets with fixed newstyle and without padding', async (t) => {
  const { stream } = openConnection(t);
  const greeting = await new RawNbdClient(stream).read(18);
  t.equal(greeting.toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
  t.equal(greeting.readUInt16BE(16), 3);
});

t.test('[nbd: Client flags; nbd-rule 1] an unknown flag: hangs up', async (t) => {
  for (const flags of [4, 7, 2 ** 31]) {
    const { client } = await openClient(t, { clientFlags: flags });
    await client.ended;
    t.equal(client.pendingBytes, 0, `flags ${flags}`);
  }
});

t.test('[nbd: NBD_OPT_EXPORT_NAME; nbd-rule 2] 124 zeros unless both sides leave them out', async (t) => {
  for (const [clientFlags, padding] of [
    [0, 124],
    [1, 124],
    [2, 0],
    [3, 0],
  ] as const) {
    const { client } = await openClient(t, { clientFlags });
    client.write(optionBytes(OPT.EXPORT_NAME, Buffer.from('disk')));
    const reply = await client.read(10 + padding);
    t.equal(reply.readBigUInt64BE(0), BigInt(MIB));
    t.equal(reply.readUInt16BE(8) & 1, 1, 'HAS_FLAGS');
    t.equal(
      reply.subarray(10).every((byte) => byte === 0),
      true,
    );
    client.send({ type: 3, cookie: 9n });
    t.strictSame(await client.readSimple(), { error: 0, cookie: 9n, payload: Buffer.alloc(0) });
  }
});

t.test('[nbd: NBD_OPT_GO; nbd-rule 2] never 124 zeros after GO', async (t) => {
  const { client } = await openClient(t, { clientFlags: 1 });
  t.equal((await client.go('disk')).size, BigInt(MIB));
  client.send({ type: 3, cookie: 1n });
  t.equal((await client.readSimple()).cookie, 1n);
});

t.test('[nbd: NBD_OPT_EXPORT_NAME; nbd-rule 3] a bad name: hangs up without a word', async (t) => {
  for (const name of [
    Buffer.from('other'),
    Buffer.from([0xff]),
    Buffer.from('a\0'),
    Buffer.alloc(4097, 97),
  ]) {
    const { client, exports } = await openClient(t);
    client.write(optionBytes(OPT.EXPORT_NAME, name));
    await client.ended;
    t.equal(client.pendingBytes, 0);
    t.equal(exports.leaseCount, 0);
  }
});

t.test(
  '[nbd: Option haggling; nbd-rule 4] an unknown option: its data are gone, ERR_UNSUP, and on',
  async (t) => {
    const { client } = await openClient(t);
    for (const option of [0, 4, 12, 99, 2 ** 32 - 1]) {
      const [answer, ...rest] = await client.option(option, Buffer.alloc(5000, 0x49));
      t.match(answer, { option, type: REP.ERR_UNSUP });
      t.strictSame(rest, []);
    }
    t.equal((await client.go('disk')).size, BigInt(MIB));
  },
);

t.test('[nbd: NBD_OPT_ABORT; nbd-rule 5] acknowledged, data ignored, also when nobody listens', async (t) => {
  const { client } = await openClient(t);
  t.match(await client.option(OPT.ABORT, Buffer.from('whatever')), [{ option: OPT.ABORT, type: REP.ACK }]);
  await client.ended;

  const gone = await openClient(t);
  gone.client.write(optionBytes(OPT.ABORT));
  gone.client.stream.destroy();
  // This kind of stream does not tell its other end; the time limit for the last words does.
  await gone.clock.run(gone.connection.closed);
  t.strictSame(gone.log.at('error'), []);
});

t.test('[nbd-rule 6] options without data refuse them, and consume them', async (t) => {
  const { client } = await openClient(t);
  for (const option of [OPT.LIST, OPT.STARTTLS, OPT.STRUCTURED_REPLY, OPT.EXTENDED_HEADERS]) {
    t.match(await client.option(option, Buffer.from('x')), [{ option, type: REP.ERR_INVALID }]);
  }
  const flags = (await client.go('disk')).flags;
  t.equal(flags & 128, 0, 'none of them has taken effect');
});

t.test('[nbd: NBD_OPT_LIST; nbd-rule 7] one reply for each export, then the ACK', async (t) => {
  const { client } = await openClient(t, {
    devices: { one: new MemoryDevice(512, 'the first'), 'zwei ✓': new MemoryDevice(512, '') },
  });
  const answers = await client.option(OPT.LIST);
  t.strictSame(
    answers.map(({ type, data }) => [type, data.toString()]),
    [
      [REP.SERVER, '\0\0\0\x03onethe first'],
      [REP.SERVER, '\0\0\0\x08zwei ✓'],
      [REP.ACK, ''],
    ],
  );
});

t.test(
  '[nbd: NBD_OPT_INFO and NBD_OPT_GO; nbd-rule 8; CVE-2022-26495, CVE-2022-26496] inner lengths have to fit the outer one',
  async (t) => {
    const { client, exports } = await openClient(t);
    const bad = [
      Buffer.alloc(0),
      Buffer.alloc(5),
      Buffer.concat([u32(2 ** 32 - 1), Buffer.alloc(10)]),
      Buffer.concat([u32(5), Buffer.from('disk\0\0')]),
      Buffer.concat([infoData('disk', [3]), Buffer.from('x')]),
      infoData('disk', [3]).subarray(0, -1),
      Buffer.concat([u32(4), Buffer.from('disk'), Buffer.from([0xff, 0xff])]),
    ];
    for (const option of [OPT.INFO, OPT.GO]) {
      for (const data of bad) {
        t.match(await client.option(option, data), [{ option, type: REP.ERR_INVALID }], data.toString('hex'));
      }
    }
    t.strictSame(exports.asked, []);
    t.equal((await client.go('disk')).size, BigInt(MIB));
  },
);

t.test(
  '[nbd: NBD_REP_INFO; nbd-rule 9] what was asked for, once, and the same for INFO and GO',
  async (t) => {
    const { client, exports } = await openClient(t);
    const data = infoData('', [3, 3, 1, 2, 0, 77, 3]);
    const infos = await client.option(OPT.INFO, data);
    t.equal(infos.at(-1)?.type, REP.ACK);
    const byType = new Map(infos.slice(0, -1).map((answer) => [answer.data.readUInt16BE(0), answer]));
    t.strictSame([...byType.keys()].sort(), [0, 1, 2, 3]);
    t.equal(infos.length, 5, 'no duplicates, nothing for type 77');
    t.equal(byType.get(1)?.data.toString('utf8', 2), 'disk', 'the canonical name');
    t.match(byType.get(2)?.data.toString('utf8', 2), /memory/);
    const sizes = byType.get(3)!.data;
    t.strictSame([sizes.readUInt32BE(2), sizes.readUInt32BE(6), sizes.readUInt32BE(10)], [1, 4096, 2 ** 26]);
    const again = await client.option(OPT.GO, data);
    t.strictSame(
      again.map(({ type, data }) => [type, data.toString('hex')]),
      infos.map(({ type, data }) => [type, data.toString('hex')]),
    );
    t.strictSame(exports.asked, [''], 'the device was looked up once');
  },
);

t.test('[nbd: NBD_INFO_EXPORT; nbd-rule 9] is there without being asked for', async (t) => {
  const { client } = await openClient(t);
  const infos = await client.option(OPT.INFO, infoData('disk'));
  t.strictSame(
    infos.map(({ type }) => type),
    [REP.INFO, REP.ACK],
  );
  t.equal(infos[0]?.data.length, 12);
});

t.test(
  '[nbd-rule 10] after a refusal the client may try again, and gets the other export alone',
  async (t) => {
    const small = new MemoryDevice(512);
    const { client, exports } = await openClient(t, { devices: { disk: new MemoryDevice(MIB), small } });
    t.match(await client.option(OPT.INFO, infoData('disk', [3])), [{}, {}, { type: REP.ACK }]);
    t.match(await client.option(OPT.GO, infoData('nothing', [3])), [{ type: REP.ERR_UNKNOWN }]);
    t.equal(exports.leaseCount, 0);
    t.equal((await client.go('small')).size, 512n);
    t.equal(exports.leaseCount, 1);
    client.send({ type: 0, offset: 512, length: 1, cookie: 5n });
    t.match(await client.readSimple(), { error: 22, cookie: 5n });
  },
);

t.test(
  '[nbd-rule 11; CVE-2020-10761, CVE-2017-15118] names of 4096 bytes are refused shortly, longer ones too',
  async (t) => {
    const { client } = await openClient(t);
    for (const [length, type] of [
      [4096, REP.ERR_UNKNOWN],
      [4097, REP.ERR_INVALID],
    ] as const) {
      const [answer] = await client.option(OPT.GO, infoData('n'.repeat(length)));
      t.equal(answer?.type, type);
      t.ok(answer!.data.length < 400, 'the answer does not repeat it');
    }
    for (const name of ['a\0b', 'x']) {
      const bytes = Buffer.from(name);
      if (name === 'x') bytes[0] = 0xc3;
      const data = Buffer.concat([u32(bytes.length), bytes, Buffer.alloc(2)]);
      t.match(await client.option(OPT.INFO, data), [{ type: REP.ERR_INVALID }]);
    }
  },
);

t.test(
  '[nbd: NBD_INFO_BLOCK_SIZE; nbd-rule 12] sizes of the device, never more than the server takes',
  async (t) => {
    class Coarse extends MemoryDevice {
      readonly blockSizes = { minimum: 512, preferred: 2 ** 19, maximum: 2 ** 31 };
    }
    const { client } = await openClient(t, { devices: { coarse: new Coarse(MIB) } });
    const infos = await client.option(OPT.GO, infoData('coarse', [3]));
    const sizes = infos.find(({ data }) => data.length === 14)!.data;
    t.strictSame(
      [sizes.readUInt32BE(2), sizes.readUInt32BE(6), sizes.readUInt32BE(10)],
      [512, 2 ** 19, 2 ** 26],
    );
    client.send({ type: 1, offset: 3, payload: Buffer.from('odd') }, { type: 0, offset: 2, length: 5 });
    await client.readSimple();
    t.equal(
      (await client.readSimple(5)).payload.toString('latin1'),
      '\0odd\0',
      'unaligned requests are right',
    );
  },
);

t.test('[nbd: Transmission flags; nbd-rule 13, 14] say what the device can do', async (t) => {
  const device = new MemoryDevice(MIB);
  const readOnly = { sizeBytes: 512, read: () => [{ zeroBytes: 512 }] };
  const writable = { ...readOnly, write: () => undefined };
  const { client } = await openClient(t, { devices: { device, readOnly, writable } });
  const flagsOf = async (name: string): Promise<number> =>
    (await client.option(OPT.INFO, infoData(name)))[0]!.data.readUInt16BE(10);
  t.equal(await flagsOf('device'), 1 | 4 | 8 | 32 | 64 | 256 | 1024 | 2048);
  t.equal(await flagsOf('readOnly'), 1 | 2 | 4 | 8 | 256, 'read-only, and the same on every connection');
  t.equal(await flagsOf('writable'), 1 | 4 | 8, 'nothing is promised that the device does not say');
  await client.option(OPT.STRUCTURED_REPLY);
  t.equal((await flagsOf('readOnly')) & 128, 128, 'SEND_DF once replies are structured');
});

t.test('[nbd-rule 20; CVE-2017-15119] neither endless nor oversized haggling', async (t) => {
  const many = await openClient(t, { limits: { optionsMax: 3 } });
  for (let index = 0; index < 3; index += 1) await many.client.option(99);
  t.match(await many.client.option(OPT.LIST), [{ type: REP.ERR_TOO_BIG }]);
  await many.client.ended;

  // Who was shown exports may ask about each of them, by some options, once.
  const shown = await openClient(t, { limits: { optionsMax: 3 }, devices: { a: new MemoryDevice(512) } });
  for (let index = 0; index < 2; index += 1) t.equal((await shown.client.option(OPT.LIST)).length, 2);
  for (let index = 2; index < 3 + 8; index += 1)
    t.match((await shown.client.option(OPT.INFO, infoData('a'))).at(-1), { type: REP.ACK });
  t.match(await shown.client.option(OPT.LIST), [{ type: REP.ERR_TOO_BIG }]);
  await shown.client.ended;

  for (const option of [OPT.INFO, 99]) {
    const { client } = await openClient(t);
    client.write(optionBytes(option, Buffer.alloc(0), 2 ** 32 - 1));
    t.match(await client.readAnswers(), [{ type: REP.ERR_TOO_BIG }], 'before any of it has come');
    await client.ended;
  }
});

t.test('a refusal carries its reason', async (t) => {
  const exports = {
    list: () => [],
    acquire: async (name: string) => {
      if (name === 'broken') throw new TypeError('secret detail');
      throw new ExportRefusedError(
        name === 'policy' ? ExportRefusalKind.Policy : ExportRefusalKind.TlsRequired,
        `no, since ${name}`,
      );
    },
  };
  const { client, log } = await openClient(t, { exports });
  t.strictSame(await lastOf(client.option(OPT.GO, infoData('policy'))), {
    type: REP.ERR_POLICY,
    text: 'no, since policy',
  });
  t.strictSame(await lastOf(client.option(OPT.INFO, infoData('tls'))), {
    type: REP.ERR_TLS_REQD,
    text: 'no, since tls',
  });
  const broken = await lastOf(client.option(OPT.INFO, infoData('broken')));
  t.equal(broken.type, REP.ERR_UNKNOWN);
  t.notMatch(broken.text, /secret/);
  t.match(log.at('error'), [{ fields: { error: 'secret detail' } }]);
});

t.test('a wrong magic number ends the handshake', async (t) => {
  const { client } = await openClient(t);
  client.write(Buffer.from('IHAVEOPX'), u32(3), u32(0));
  await client.ended;
});

t.test('a client that hangs up while its export is being opened leaves nothing behind', async (t) => {
  let open: () => void = () => undefined;
  const exports = new FixedExports({ disk: new MemoryDevice(512) });
  const slow = {
    list: () => [],
    acquire: async (name: string) => {
      await new Promise<void>((resolve) => {
        open = resolve;
      });
      return exports.acquire(name);
    },
  };
  const { client, clock, connection } = await openClient(t, { exports: slow });
  client.write(optionBytes(OPT.GO, infoData('disk')));
  await settle();
  client.stream.end();
  await settle();
  t.equal(exports.leaseCount, 0);
  open();
  await clock.run(connection.closed);
  t.equal(exports.leaseCount, 0);
});

t.test('requests that come right behind GO are answered', async (t) => {
  const { client } = await openClient(t);
  const read = Buffer.concat([Buffer.from('25609513', 'hex'), Buffer.alloc(20), u32(512)]);
  client.write(optionBytes(OPT.GO, infoData('disk')), read);
  t.equal((await client.readAnswers()).at(-1)?.type, REP.ACK);
  t.equal((await client.readSimple(512)).error, 0);
});

t.test(
  '[nbd: NBD_OPT_LIST; nbd-rule 7] a list that takes time: nothing else is answered before it',
  async (t) => {
    let give: (listings: { name: string; description: string }[]) => void = () => undefined;
    const listings = new Promise<{ name: string; description: string }[]>((resolve) => (give = resolve));
    const exports = {
      list: () => listings,
      acquire: () => Promise.reject(new ExportRefusedError(ExportRefusalKind.Unknown, 'none')),
    };
    const { client } = await openClient(t, { exports });
    client.write(optionBytes(OPT.LIST, Buffer.alloc(0)));
    client.write(optionBytes(OPT.INFO, infoData('x')));
    await settle();
    t.equal(client.pendingBytes, 0);
    give([{ name: 'late', description: 'but here' }]);
    const types = (await client.readAnswers()).map(({ type }) => type);
    t.strictSame(types, [REP.SERVER, REP.ACK]);
    t.match(await client.readAnswers(), [{ type: REP.ERR_UNKNOWN }]);
  },
);
