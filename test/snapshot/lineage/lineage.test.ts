import fc from 'fast-check';
import t, { type Test } from 'tap';
import { DeviceError } from '../../../src/device/device-error.js';
import { BLOCK_BYTES } from '../../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../../src/ebs/errors.js';
import { BlockCache } from '../../../src/snapshot/block-cache.js';
import { DiskCache } from '../../../src/snapshot/disk/disk-cache.js';
import { Lineage } from '../../../src/snapshot/lineage/lineage.js';
import { PairChanges } from '../../../src/snapshot/lineage/pair-changes.js';
import { openSnapshotDevice, type SnapshotDevice } from '../../../src/snapshot/snapshot-device.js';
import { TokenMemory } from '../../../src/snapshot/token-memory.js';
import { Limiter } from '../../../src/util/limiter.js';
import { MIB } from '../../../src/util/units.js';
import { joinChunks } from '../../fixtures/device-contract.js';
import { FakeLineage } from '../../fixtures/fake-lineage.js';
import { fail } from '../../fixtures/fake-snapshot.js';
import { ManualClock } from '../../fixtures/manual-clock.js';
import { MemoryLog } from '../../fixtures/memory-log.js';
import { freshSeed } from '../../fixtures/seeded.js';
import { workFolder } from '../../fixtures/work-folder.js';

interface Opened {
  readonly log: MemoryLog;
  readonly clock: ManualClock;
  readonly lineage: Lineage;
  readonly open: (snapshotId: string) => Promise<SnapshotDevice>;
  /** Reads blocks, and compares them. @returns the Gets that this took. */
  readonly read: (device: SnapshotDevice, snapshotId: string, blocks: readonly number[]) => Promise<number>;
  readonly close: () => Promise<void>;
}

interface Caches {
  readonly memoryBytes?: number;
  /** Of a disk cache. */
  readonly dir?: string;
  readonly getUsd?: number;
  /** List calls cost nothing. */
  readonly listsAreFree?: boolean;
}

/** What a process has: caches, a lineage, devices. */
async function start(
  t: Test,
  api: FakeLineage,
  { memoryBytes = 256 * MIB, dir, getUsd, listsAreFree = false }: Caches = {},
): Promise<Opened> {
  const log = new MemoryLog();
  const clock = new ManualClock();
  const cache = new BlockCache(memoryBytes);
  const diskCache =
    dir === undefined ? undefined : await DiskCache.open({ dir, bytesMax: 512 * MIB, logger: log, clock });
  const disk = diskCache === undefined ? undefined : { cache: diskCache, service: 'fake' };
  const lineage = new Lineage({
    api,
    cache,
    disk,
    clock,
    logger: log,
    prices: { ...(getUsd === undefined ? {} : { get: getUsd }), ...(listsAreFree ? { list: 0 } : {}) },
  });
  const devices: SnapshotDevice[] = [];
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    for (const device of devices) device.close();
    lineage.close();
    await diskCache?.close();
  };
  t.teardown(close);
  return {
    log,
    clock,
    lineage,
    close,
    open: async (snapshotId) => {
      const limiter = new Limiter(16);
      const parts = { api, snapshotId, cache, limiter, lineage, clock, readsAhead: false };
      const device = await openSnapshotDevice({ ...parts, ...(disk === undefined ? {} : { disk }) });
      devices.push(device);
      return device;
    },
    read: async (device, snapshotId, blocks) => {
      const before = api.gets.length;
      await Promise.all(
        blocks.map(async (blockIndex) => {
          const bytes = joinChunks(await device.read(blockIndex * BLOCK_BYTES, SAMPLE_BYTES), SAMPLE_BYTES);
          if (!bytes.equals(api.content(snapshotId, blockIndex).subarray(0, SAMPLE_BYTES)))
            throw new Error(`wrong bytes of block ${blockIndex} of ${snapshotId}`);
        }),
      );
      await diskCache?.settled();
      return api.gets.length - before;
    },
  };
}

/** Says which put a block is from. */
const SAMPLE_BYTES = 512;

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

t.test('[ebs: ListChangedBlocks] what did not change is fetched once, whichever is read first', async (t) => {
  for (const memoryBytes of [0, 256 * MIB]) {
    const api = new FakeLineage();
    const first = api.add({ written: upTo(20) });
    const second = api.add({ parent: first, written: [3, 4], removed: [7] });
    const caches = { memoryBytes, ...(memoryBytes === 0 ? { dir: workFolder(t) } : {}) };
    const { open, read } = await start(t, api, caches);
    const [older, newer] = [await open(first), await open(second)];
    t.equal(await read(newer, second, upTo(10)), 9, 'block 7 is zeros');
    t.equal(await read(older, first, upTo(20)), 13, '7 are shared');
    t.equal(await read(newer, second, upTo(20)), 0);
    t.equal(api.compared.length, 1, 'one call told all of it');
    t.equal(newer.counts.relativeHits, 10);
    t.ok(older.counts.relativeHits === 7);
  }
});

t.test('thirty days, one after another: each version of a block is fetched once', async (t) => {
  for (const order of ['oldest first', 'newest first']) {
    const api = new FakeLineage();
    const days = [api.add({ written: upTo(60) })];
    for (let day = 1; day < 30; day += 1)
      days.push(api.add({ parent: days.at(-1)!, written: [day, (day * 7) % 60] }));
    if (order === 'newest first') days.reverse();
    const { open, read } = await start(t, api);
    for (const day of days) await read(await open(day), day, upTo(60));
    const distinct = new Set([...api.snapshots.values()].flatMap(({ puts }) => [...puts].map(String)));
    t.equal(api.gets.length, new Set(api.gets).size, `${order}: none twice`);
    t.equal(api.gets.length, distinct.size);
    t.ok(api.compared.length < 90, `${api.compared.length} comparisons`);
  }
});

t.test('the disk cache of an earlier process serves relatives', async (t) => {
  const api = new FakeLineage();
  const dir = workFolder(t);
  const first = api.add({ written: upTo(30) });
  const second = api.add({ parent: first, written: [1] });
  const third = api.add({ parent: second, written: [2] });
  const stranger = api.add({ written: upTo(30) });
  for (const [snapshotId, gets] of [
    [stranger, 30],
    [first, 30],
    [third, 2],
    [second, 0],
  ] as const) {
    const { open, read, close } = await start(t, api, { dir, memoryBytes: 0 });
    t.equal(await read(await open(snapshotId), snapshotId, upTo(30)), gets, snapshotId);
    await close();
  }
  const calls = api.compared.length;
  const { open, read } = await start(t, api, { dir, memoryBytes: 0 });
  t.equal(await read(await open(third), third, upTo(30)), 0);
  t.equal(api.compared.length, calls, 'names that were found once need no comparison');
});

t.test('readers of several days at once share what is on its way', async (t) => {
  const api = new FakeLineage();
  const days = [api.add({ written: upTo(40) })];
  for (let day = 1; day < 6; day += 1) days.push(api.add({ parent: days.at(-1)!, written: [day] }));
  const { open, read } = await start(t, api);
  const devices = await Promise.all(days.map(open));
  await Promise.all(devices.map((device, at) => read(device, days[at]!, upTo(40))));
  t.equal(api.gets.length, 45);
});

t.test('no relation, no sharing: unrelated, refused, failing, a volume of another size', async (t) => {
  const api = new FakeLineage();
  const one = api.add({ written: upTo(10) });
  const other = api.add({ written: upTo(10) });
  const child = api.add({ parent: one, written: [], volumeSizeGib: 2 });
  const { open, read, log, clock } = await start(t, api);
  await read(await open(one), one, upTo(10));
  t.equal(await read(await open(other), other, upTo(10)), 10);
  t.equal(api.compared.length, 1, 'a refusal is remembered');
  api.hook = (operation) => {
    if (operation === EbsOperation.ListChangedBlocks) throw fail(EbsErrorKind.AccessDenied);
  };
  const device = await open(child);
  t.equal(await read(device, child, upTo(5)), 5);
  t.ok(api.compared.length <= 3, `${api.compared.length} calls`);
  t.equal(log.at('warn').length, 1);
  api.hook = () => undefined;
  t.equal(await read(device, child, [5, 6]), 2, 'it is not asked again for a while');
  await clock.advance(300_000);
  t.equal(await read(device, child, [7, 8, 9, 3000]), 0, 'and then it is');
});

t.test('a comparison that costs more than it can save is not made', async (t) => {
  const api = new FakeLineage();
  const first = api.add({ written: upTo(40) });
  const second = api.add({ parent: first, written: [] });
  // A list call costs as much as ten Gets.
  const { open, read } = await start(t, api, { getUsd: 0.000_06 });
  await read(await open(first), first, upTo(40));
  const device = await open(second);
  for (const blockIndex of upTo(11)) t.equal(await read(device, second, [blockIndex]), 1);
  t.equal(api.compared.length, 0);
  t.equal(await read(device, second, upTo(40)), 0);
  t.equal(api.compared.length, 1);
});

t.test(
  'a comparison of page after page with nothing in it costs no more than the blocks, and goes on',
  async (t) => {
    const api = new FakeLineage();
    const first = api.add({ written: upTo(400) });
    const second = api.add({ parent: first, written: [390] });
    // 400 pages until there is a change, of which a List call is a fifth of a Get.
    api.candidatesMax = 1;
    const { open, read } = await start(t, api);
    await read(await open(first), first, upTo(400));
    const device = await open(second);
    // Far from each other, the later ones at the end.
    const blocks = upTo(120).map((at) => (at * 37) % 380);
    let gets = 0;
    for (const blockIndex of blocks) gets += await read(device, second, [blockIndex]);
    const pages = 400;
    t.ok(api.compared.length <= pages + 20, `${api.compared.length} calls`);
    t.ok(gets >= 80 && gets <= 100, `${gets} Gets before it is known, for a call costs a fifth of one`);
  },
);

t.test('questions that were answered do not count against a comparison', async (t) => {
  const api = new FakeLineage();
  const first = api.add({ written: upTo(100) });
  const second = api.add({ parent: first, written: upTo(100) });
  api.candidatesMax = 1;
  const { lineage, open, read } = await start(t, api);
  await read(await open(first), first, [60]);
  const device = await open(second);
  for (const blockIndex of upTo(60))
    t.equal(await lineage.isSame(second, { snapshotId: first, volumeSizeGib: 1 }, blockIndex), false);
  t.equal(api.compared.length, 60, 'one call for each');
  t.equal(await read(device, second, [60]), 1);
  t.equal(api.compared.length, 61, 'a call costs a fifth of a Get');
});

t.test('a relative whose fetch fails costs nobody else his answer', async (t) => {
  const api = new FakeLineage();
  const first = api.add({ written: upTo(10) });
  const second = api.add({ parent: first, written: [] });
  const { open, read } = await start(t, api);
  const [older, newer] = [await open(first), await open(second)];
  await read(older, first, [0]);
  await read(newer, second, [0]);
  let failing = 1;
  api.hook = (operation) => {
    if (operation === EbsOperation.GetSnapshotBlock && failing-- > 0) throw fail(EbsErrorKind.Server);
  };
  const results = await Promise.allSettled([read(older, first, [5]), read(newer, second, [5])]);
  t.strictSame(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  );
});

/** Around the borders of volumes of 1 to 3 GiB. */
const INDEXES = [0, 1, 2, 700, 2046, 2047, 2048, 2049, 4095, 4096, 6143];

const someIndexes = fc.uniqueArray(fc.constantFrom(...INDEXES), { maxLength: 6 });
const step = fc.record({
  parent: fc.nat(6),
  grow: fc.nat(2),
  written: someIndexes,
  removed: someIndexes,
});
const reading = fc.record({ of: fc.nat(6), blocks: someIndexes, isAlone: fc.boolean() });

/** Snapshots on top of any earlier one, or of none: branches, siblings, grown volumes, blocks that went. */
function build(steps: readonly (typeof step extends fc.Arbitrary<infer Step> ? Step : never)[]): FakeLineage {
  const api = new FakeLineage();
  const ids: string[] = [];
  for (const { parent, grow, written, removed } of steps) {
    const base = ids[parent];
    const volumeSizeGib = Math.min(
      3,
      (base === undefined ? 1 : api.snapshots.get(base)!.volumeSizeGib) + grow,
    );
    const fitting = written.filter((at) => at < volumeSizeGib * 2048);
    const parts = { volumeSizeGib, written: fitting, removed };
    ids.push(api.add(base === undefined ? parts : { ...parts, parent: base }));
  }
  return api;
}

t.test('random lineages: the bytes are right, and no put is fetched twice', async (t) => {
  const seed = Number.parseInt(freshSeed().slice(0, 8), 16);
  t.comment(`seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 7 }),
      fc.array(reading, { minLength: 2, maxLength: 14 }),
      fc.constantFrom(1, 3, 10_000),
      async (steps, readings, candidatesMax) => {
        const api = build(steps);
        api.candidatesMax = candidatesMax;
        const { open, read, close } = await start(t, api, { listsAreFree: true });
        await readRandomly(api, readings, open, read);
        await close();
        return new Set(api.gets).size === api.gets.length;
      },
    ),
    { seed, numRuns: 25 },
  );
});

t.test('random lineages while calls fail, with caches of any size: the bytes are right', async (t) => {
  const seed = Number.parseInt(freshSeed().slice(0, 8), 16);
  t.comment(`seed ${seed}`);
  const kinds = [
    EbsErrorKind.ThrottledAccount,
    EbsErrorKind.Server,
    EbsErrorKind.AccessDenied,
    EbsErrorKind.NotFound,
    EbsErrorKind.MalformedAnswer,
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 7 }),
      fc.array(reading, { minLength: 2, maxLength: 14 }),
      fc.infiniteStream(fc.oneof(fc.constant(undefined), fc.constantFrom(...kinds))),
      // With few candidates a page, calls fail in the middle of a relation.
      fc.constantFrom(1, 2, 10_000),
      fc.constantFrom(
        { memoryBytes: 0 },
        { memoryBytes: 3 * BLOCK_BYTES },
        { isOnDisk: true, memoryBytes: 0 },
      ),
      async (steps, readings, fates, candidatesMax, { memoryBytes, isOnDisk }) => {
        const api = build(steps);
        api.candidatesMax = candidatesMax;
        const dir = isOnDisk === true ? { dir: workFolder(t) } : {};
        const { open, read, close, clock } = await start(t, api, { memoryBytes, ...dir });
        api.hook = (operation) => {
          const fate = operation === EbsOperation.ListSnapshotBlocks ? undefined : fates.next().value;
          if (fate !== undefined) throw fail(fate);
        };
        await readRandomly(api, readings, open, read, () => clock.advance(200_000));
        await close();
      },
    ),
    { seed, numRuns: 25 },
  );
});

async function readRandomly(
  api: FakeLineage,
  readings: readonly (typeof reading extends fc.Arbitrary<infer Reading> ? Reading : never)[],
  open: Opened['open'],
  read: Opened['read'],
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const ids = [...api.snapshots.keys()];
  const devices = new Map<string, SnapshotDevice>();
  let underWay: Promise<void>[] = [];
  for (const { of, blocks, isAlone } of readings) {
    const snapshotId = ids[of % ids.length]!;
    const device = devices.get(snapshotId) ?? (await open(snapshotId));
    devices.set(snapshotId, device);
    const fitting = blocks.filter((at) => at < api.snapshots.get(snapshotId)!.volumeSizeGib * 2048);
    underWay.push(
      read(device, snapshotId, fitting).then(
        () => undefined,
        (error: unknown) => {
          if (!(error instanceof DeviceError)) throw error;
        },
      ),
    );
    if (!isAlone) continue;
    await Promise.all(underWay);
    underWay = [];
    await between();
  }
  await Promise.all(underWay);
}

t.test('a relative that is forgotten while it is compared fails nobody', async (t) => {
  for (const isRelated of [true, false]) {
    const api = new FakeLineage();
    const forgotten = api.add({ written: [5] });
    const asked = api.add({ ...(isRelated ? { parent: forgotten } : {}), written: [5] });
    const { open, read } = await start(t, api);
    const first = await open(forgotten);
    await read(first, forgotten, [5]);
    first.close();
    const device = await open(asked);
    // As many closed ones as are remembered, and one more that closes in the middle of the comparison.
    for (let count = 1; count < 512; count += 1) (await open(api.add({ written: [] }))).close();
    const last = await open(api.add({ written: [] }));
    api.hook = (operation) => {
      if (operation === EbsOperation.ListChangedBlocks) last.close();
    };
    t.equal(await read(device, asked, [5]), 1);
    t.equal(api.compared.length, 1);
  }
});

t.test('what is listed for a pair that has been forgotten takes no memory', async (t) => {
  const api = new FakeLineage();
  const firstSnapshotId = api.add({ written: upTo(20) });
  const secondSnapshotId = api.add({ parent: firstSnapshotId, written: [3] });
  const memory = new TokenMemory();
  const changes = new PairChanges(api, { firstSnapshotId, secondSnapshotId }, 1, memory);
  api.hook = () => changes.close();
  t.equal(await changes.learn(3, 1, new AbortController().signal), true);
  t.equal(memory.sizeBytes, 0);
});
