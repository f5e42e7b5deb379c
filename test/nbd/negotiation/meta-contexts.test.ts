import t from 'tap';
import type { ExtentSource } from '../../../src/device/block-device.js';
import { MemoryDevice } from '../../../src/device/memory-device.js';
import { contextData, infoData, OPT, REP, u32 } from '../../fixtures/nbd-bytes.js';
import { openClient } from '../../fixtures/nbd-connection.js';
import type { OptionAnswer } from '../../fixtures/nbd-raw-client.js';

/** A disk with maps beside the one of what is allocated. */
export class MappedDevice extends MemoryDevice {
  readonly metaContexts: ReadonlyMap<string, ExtentSource> = new Map(
    ['qemu:allocation-depth', 'qemu:dirty-bitmap:monday', 'qemu:dirty-bitmap:tuesday'].map((name, index) => [
      name,
      { extents: (_offset: number, lengthBytes: number) => [{ lengthBytes, flags: index + 1 }] },
    ]),
  );
}

/** The contexts in an answer by name, with their ids; or the type of the refusal. */
function contextsIn(answers: readonly OptionAnswer[]): Record<string, number> | number {
  const last = answers.at(-1)!;
  if (last.type !== REP.ACK) return last.type;
  const contexts = answers.slice(0, -1);
  t.equal(
    contexts.every(({ type }) => type === REP.META_CONTEXT),
    true,
  );
  return Object.fromEntries(contexts.map(({ data }) => [data.toString('utf8', 4), data.readUInt32BE(0)]));
}

const ALL = [
  'base:allocation',
  'qemu:allocation-depth',
  'qemu:dirty-bitmap:monday',
  'qemu:dirty-bitmap:tuesday',
];

t.test(
  '[nbd: NBD_OPT_LIST_META_CONTEXT; nbd-rule 17] lists all, or what a query names or begins with',
  async (t) => {
    const { client } = await openClient(t, { devices: { disk: new MappedDevice(2 ** 20) } });
    await client.option(OPT.STRUCTURED_REPLY);
    const list = async (...queries: string[]): Promise<string[] | number> => {
      const found = contextsIn(await client.option(OPT.LIST_META_CONTEXT, contextData('', queries)));
      if (typeof found === 'number') return found;
      t.equal(
        Object.values(found).every((id) => id === 0),
        true,
        'ids are 0',
      );
      return Object.keys(found);
    };
    t.strictSame(await list(), ALL);
    t.strictSame(await list('base:'), ['base:allocation']);
    t.strictSame(await list('qemu:'), ALL.slice(1));
    t.strictSame(await list('qemu:dirty-bitmap:'), ALL.slice(2));
    t.strictSame(await list('qemu:dirty-bitmap:monday', 'base:allocation'), [ALL[0], ALL[2]]);
    t.strictSame(await list('x-other:', 'base:nothing', 'base', ''), [], 'what is not known is passed over');
  },
);

t.test('[nbd: NBD_OPT_SET_META_CONTEXT; nbd-rule 17] selects what a query names exactly', async (t) => {
  const { client } = await openClient(t, { devices: { disk: new MappedDevice(2 ** 20) } });
  await client.option(OPT.STRUCTURED_REPLY);
  const set = async (...queries: string[]): Promise<Record<string, number> | number> =>
    contextsIn(await client.option(OPT.SET_META_CONTEXT, contextData('disk', queries)));
  t.strictSame(await set(), {}, 'no queries: none');
  t.strictSame(await set('base:', 'qemu:', 'qemu:dirty-bitmap:'), {}, 'wildcards select nothing');
  t.strictSame(await set('base:nothing', 'x-other:thing', 'nonsense'), {});
  const both = (await set('qemu:dirty-bitmap:tuesday', 'base:allocation', 'base:allocation')) as Record<
    string,
    number
  >;
  t.strictSame(Object.keys(both), ['base:allocation', 'qemu:dirty-bitmap:tuesday']);
  t.equal(new Set(Object.values(both)).size, 2, 'each with an id of its own');
});

t.test('[nbd-rule 17] needs structured replies', async (t) => {
  const { client } = await openClient(t);
  for (const option of [OPT.LIST_META_CONTEXT, OPT.SET_META_CONTEXT]) {
    t.equal(contextsIn(await client.option(option, contextData('disk', []))), REP.ERR_INVALID);
  }
  await client.option(OPT.EXTENDED_HEADERS);
  t.strictSame(
    contextsIn(await client.option(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation']))),
    {
      'base:allocation': 1,
    },
  );
});

t.test('[nbd-rule 17] lengths are checked, leftovers refused', async (t) => {
  const { client } = await openClient(t);
  await client.option(OPT.STRUCTURED_REPLY);
  const good = contextData('disk', ['base:allocation']);
  const bad = [
    Buffer.alloc(0),
    good.subarray(0, 6),
    good.subarray(0, 10),
    good.subarray(0, -1),
    Buffer.concat([good, Buffer.from('x')]),
    Buffer.concat([u32(2 ** 32 - 1), good]),
    Buffer.concat([u32(4), Buffer.from('disk'), u32(2 ** 32 - 1)]),
    Buffer.concat([u32(4), Buffer.from('disk'), u32(1), u32(2 ** 32 - 1)]),
    Buffer.concat([u32(1), Buffer.from([0xff]), u32(0)]),
  ];
  for (const option of [OPT.LIST_META_CONTEXT, OPT.SET_META_CONTEXT]) {
    for (const data of bad) {
      t.equal(contextsIn(await client.option(option, data)), REP.ERR_INVALID, data.toString('hex'));
    }
  }
});

t.test('[nbd-rule 17] a SET replaces the one before, also when it fails', async (t) => {
  for (const second of [contextData('disk', []), contextData('other', []), Buffer.alloc(1)]) {
    const { client } = await openClient(t);
    await client.option(OPT.STRUCTURED_REPLY);
    await client.option(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation']));
    await client.option(OPT.SET_META_CONTEXT, second);
    await client.go('disk');
    client.send({ type: 7, length: 512 });
    t.match(await client.readChunks(), [{ type: 0x8001 }], 'no contexts: EINVAL');
  }
});

t.test('[nbd-rule 10, 17] contexts count only for the export that they were selected for', async (t) => {
  const devices = { disk: new MemoryDevice(2 ** 20), other: new MemoryDevice(2 ** 20) };
  const { client } = await openClient(t, { devices });
  await client.option(OPT.STRUCTURED_REPLY);
  await client.option(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation']));
  await client.go('other');
  client.send({ type: 7, length: 512 });
  t.match(await client.readChunks(), [{ type: 0x8001 }]);

  const same = await openClient(t, { devices });
  await same.client.option(OPT.STRUCTURED_REPLY);
  await same.client.option(OPT.SET_META_CONTEXT, contextData('', ['base:allocation']));
  await same.client.go('disk');
  same.client.send({ type: 7, length: 512 });
  t.match(await same.client.readChunks(), [{ type: 5 }], 'the default export by its name is the same export');
});

t.test('an export that does not exist has no contexts', async (t) => {
  const { client } = await openClient(t);
  await client.option(OPT.STRUCTURED_REPLY);
  for (const option of [OPT.LIST_META_CONTEXT, OPT.SET_META_CONTEXT]) {
    t.equal(contextsIn(await client.option(option, contextData('no', ['base:allocation']))), REP.ERR_UNKNOWN);
  }
  const few = await openClient(t, {
    devices: { disk: new MappedDevice(512) },
    limits: { contextsMax: 2 },
  });
  await few.client.option(OPT.STRUCTURED_REPLY);
  t.equal(
    contextsIn(await few.client.option(OPT.SET_META_CONTEXT, contextData('disk', ALL))),
    REP.ERR_TOO_BIG,
  );
});

t.test('[nbd: NBD_OPT_EXTENDED_HEADERS; nbd-rule 18] wins over structured replies', async (t) => {
  const { client } = await openClient(t);
  t.match(await client.option(OPT.STRUCTURED_REPLY), [{ type: REP.ACK }]);
  t.match(await client.option(OPT.EXTENDED_HEADERS), [{ type: REP.ACK }]);
  t.match(await client.option(OPT.STRUCTURED_REPLY), [{ type: REP.ERR_EXT_HEADER_REQD }]);
  const flagsOf = async (): Promise<number> =>
    (await client.option(OPT.INFO, infoData('disk')))[0]!.data.readUInt16BE(10);
  t.equal((await flagsOf()) & (128 | 4096), 128, 'SEND_DF, and no BLOCK_STATUS_PAYLOAD without contexts');
  await client.option(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation']));
  t.equal((await flagsOf()) & 4096, 4096);
  await client.go('disk');
  client.sendExtended({ type: 3, cookie: 2n });
  t.match(await client.readChunks(), [{ type: 0, cookie: 2n, offset: 0n }]);
});

t.test('[nbd-rule 18] EXPORT_NAME is forbidden once headers are extended', async (t) => {
  const { client } = await openClient(t);
  await client.option(OPT.EXTENDED_HEADERS);
  client.write(Buffer.from('IHAVEOPT'), u32(OPT.EXPORT_NAME), u32(4), Buffer.from('disk'));
  await client.ended;
  t.equal(client.pendingBytes, 0);
});
