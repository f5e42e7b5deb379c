import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { exportProfile, importProfile } from '../../../src/app/profile-shipping.js';
import { BLOCK_BYTES } from '../../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../../src/ebs/errors.js';
import { BlockCache } from '../../../src/snapshot/block-cache.js';
import { Lineage } from '../../../src/snapshot/lineage/lineage.js';
import { Profiles, type ProfileMode } from '../../../src/snapshot/profile/profiles.js';
import { ProfileStore } from '../../../src/snapshot/profile/profile-store.js';
import {
  decodeProfile,
  encodeProfile,
  ProfileFormatError,
} from '../../../src/snapshot/profile/read-profile.js';
import { openSnapshotDevice, type SnapshotDevice } from '../../../src/snapshot/snapshot-device.js';
import { Limiter } from '../../../src/util/limiter.js';
import { MIB } from '../../../src/util/units.js';
import { joinChunks } from '../../fixtures/device-contract.js';
import { FakeLineage } from '../../fixtures/fake-lineage.js';
import { fail } from '../../fixtures/fake-snapshot.js';
import { ManualClock } from '../../fixtures/manual-clock.js';
import { MemoryLog } from '../../fixtures/memory-log.js';
import { seededNumbers } from '../../fixtures/seeded.js';
import { workFolder } from '../../fixtures/work-folder.js';

const LATENCY_MS = 50;
const READS = 120;

interface Opened {
  readonly device: SnapshotDevice;
  readonly clock: ManualClock;
  readonly log: MemoryLog;
}

interface Opening {
  readonly dir: string;
  readonly mode: ProfileMode;
  readonly memoryBytes?: number;
}

/** A device with nothing cached, over an API that takes its time. */
async function open(t: Test, api: FakeLineage, snapshotId: string, opening: Opening): Promise<Opened> {
  const { dir, mode, memoryBytes = 256 * MIB } = opening;
  const clock = new ManualClock();
  const log = new MemoryLog();
  const cache = new BlockCache(memoryBytes);
  const lineage = new Lineage({ api, cache, clock, logger: log });
  const profiles = new Profiles({ store: new ProfileStore(dir, 'fake'), mode, lineage, clock, logger: log });
  const limiter = new Limiter(16);
  const parts = { api, snapshotId, cache, limiter, lineage, profiles, clock, readsAhead: false, logger: log };
  const device = await openSnapshotDevice(parts);
  t.teardown(() => {
    device.close();
    lineage.close();
  });
  api.hook = (operation) =>
    operation === EbsOperation.GetSnapshotBlock ? clock.sleep(LATENCY_MS) : undefined;
  return { device, clock, log };
}

/** A client that reads one block after another. @returns how long it took by the clock. */
async function readAll({ device, clock }: Opened, blocks: readonly number[]): Promise<number> {
  const startMs = clock.nowMs();
  for (const blockIndex of blocks) {
    await clock.run(Promise.resolve(device.read(blockIndex * BLOCK_BYTES + 4096, 4096)));
  }
  return clock.nowMs() - startMs;
}

function scattered(seed: string): number[] {
  const random = seededNumbers(seed);
  const blocks = new Set<number>();
  while (blocks.size < READS) blocks.add(random(2000));
  return [...blocks];
}

t.test('the second opening is five times as fast, and fetches nothing that is not read', async (t) => {
  const api = new FakeLineage();
  const trace = scattered('boot');
  const snapshotId = api.add({ written: [...trace, 2001, 2002] });
  const dir = workFolder(t);
  const first = await open(t, api, snapshotId, { dir, mode: 'save' });
  const coldMs = await readAll(first, trace);
  first.device.close();
  t.equal(coldMs, READS * LATENCY_MS);
  api.gets.length = 0;
  const second = await open(t, api, snapshotId, { dir, mode: 'use' });
  const warmMs = await readAll(second, trace);
  t.ok(warmMs * 5 < coldMs, `${warmMs} ms after ${coldMs} ms`);
  await second.clock.advance(1000);
  t.equal(new Set(api.gets).size, api.gets.length);
  t.equal(api.gets.length, READS);
  t.strictSame(
    api.gets.map((get) => Number(get.split('/')[0])).slice(0, 16),
    trace.slice(0, 16),
    'in that order',
  );
});

t.test('blocks far from each other, a list call for each: those are made ahead, some at once', async (t) => {
  const api = new FakeLineage();
  // Opening lists 10,000 blocks; of so large a volume a lookup lists a hundred then, of which each place has more.
  const first = Array.from({ length: 10_000 }, (_, at) => at);
  const places = Array.from({ length: 40 }, (_, at) => 20_000 + ((at * 7) % 40) * 1000);
  const trace = places.map((place) => place + 50);
  const written = places.flatMap((place) => Array.from({ length: 150 }, (_, at) => place + at));
  const volumeSizeGib = 65_536;
  const snapshotId = api.add({ volumeSizeGib, written: [...first, ...written] });
  const dir = workFolder(t);
  const blocks = trace.map((blockIndex, at) => [blockIndex, at] as const);
  const recordedAt = '2026-01-01T00:00:00.000Z';
  new ProfileStore(dir, 'fake').save({ snapshotId, volumeSizeGib, recordedAt, blocks });
  const opened = await open(t, api, snapshotId, { dir, mode: 'use' });
  api.hook = () => opened.clock.sleep(LATENCY_MS);
  const spentMs = await readAll(opened, trace);
  // One after another: two calls for each block.
  t.ok(spentMs * 3 < trace.length * 2 * LATENCY_MS, `${spentMs} ms`);
  t.ok(api.listCount <= 2 + trace.length, `${api.listCount} list calls`);
  api.hook = () => undefined;
  const throttled = await open(t, api, snapshotId, { dir, mode: 'use' });
  api.hook = (operation) => {
    if (operation === EbsOperation.ListSnapshotBlocks && api.listCount % 5 === 0)
      throw fail(EbsErrorKind.ThrottledAccount);
  };
  for (const blockIndex of trace.slice(0, 20)) {
    const bytes = await Promise.resolve(throttled.device.read(blockIndex * BLOCK_BYTES, 512)).catch(
      () => undefined,
    );
    if (bytes !== undefined)
      t.same(joinChunks(bytes, 512), api.content(snapshotId, blockIndex).subarray(0, 512));
  }
  t.equal(throttled.log.at('warn').length, 1, 'a replay that is throttled in the middle ends with one line');
});

t.test('a descendant is brought what has not changed, and a twentieth of what has', async (t) => {
  const api = new FakeLineage();
  const trace = scattered('parent');
  const parent = api.add({ written: trace });
  const child = api.add({ parent, written: trace.slice(0, 60), removed: trace.slice(100) });
  const stranger = api.add({ written: trace });
  const dir = workFolder(t);
  const first = await open(t, api, parent, { dir, mode: 'save' });
  await readAll(first, trace);
  first.device.close();
  for (const [snapshotId, gets] of [
    [child, 1 + 40 + 6],
    [stranger, 1],
  ] as const) {
    api.gets.length = 0;
    const next = await open(t, api, snapshotId, { dir: copyOf(t, dir), mode: 'use' });
    await readAll(next, trace.slice(30, 31));
    await next.clock.advance(10_000);
    t.equal(api.gets.length, gets, snapshotId);
  }
});

t.test(
  'it waits when the cache would overflow, and stops for a client who reads something else',
  async (t) => {
    const api = new FakeLineage();
    const trace = scattered('small cache');
    const others = Array.from({ length: 70 }, (_, at) => 2040 - at).filter((at) => !trace.includes(at));
    const snapshotId = api.add({ written: [...trace, ...others] });
    const dir = workFolder(t);
    const first = await open(t, api, snapshotId, { dir, mode: 'save' });
    await readAll(first, trace);
    first.device.close();
    api.gets.length = 0;
    const small = await open(t, api, snapshotId, { dir, mode: 'use', memoryBytes: 16 * MIB });
    await readAll(small, trace.slice(0, 1));
    await small.clock.advance(10_000);
    t.ok(api.gets.length <= 1 + 16, `${api.gets.length} of a cache of 32`);
    await readAll(small, trace);
    t.equal(new Set(api.gets).size, READS);
    t.ok(api.gets.length <= READS * 1.02);
    small.device.close();
    api.gets.length = 0;
    const elsewhere = await open(t, api, snapshotId, { dir, mode: 'use', memoryBytes: 16 * MIB });
    await readAll(elsewhere, others);
    await readAll(elsewhere, trace.slice(20, 40));
    t.ok(api.gets.length <= others.length + 20 + 16 + 1, `${api.gets.length}`);
  },
);

t.test('a replay that fails is one line, and costs the reader nothing', async (t) => {
  const api = new FakeLineage();
  const trace = scattered('costly').slice(0, 30);
  const snapshotId = api.add({ written: trace });
  const dir = workFolder(t);
  const first = await open(t, api, snapshotId, { dir, mode: 'save' });
  await readAll(first, trace);
  first.device.close();
  const second = await open(t, api, snapshotId, { dir, mode: 'use' });
  let left = 10;
  api.hook = (operation) => {
    if (operation === EbsOperation.GetSnapshotBlock && left-- <= 0) throw fail(EbsErrorKind.CostLimit);
  };
  await readAll(second, trace.slice(0, 1));
  await second.clock.advance(1000);
  t.equal(second.log.at('warn').length, 1);
  left = Number.POSITIVE_INFINITY;
  await readAll(second, trace);
});

t.test('profiles that cannot be looked for are a line each, and cost the reader nothing', async (t) => {
  const api = new FakeLineage();
  const snapshotId = api.add({ written: [1, 2] });
  const dir = workFolder(t);
  writeFileSync(join(dir, 'profiles-v1'), 'no folder');
  const opened = await open(t, api, snapshotId, { dir, mode: 'use' });
  await readAll(opened, [1, 2]);
  opened.device.close();
  const reasons = opened.log.lines
    .filter(({ level }) => level === 'warn')
    .map(({ fields }) => String(fields.reason));
  // To Node.js 24 a path that goes through a file is one where there is nothing.
  const [first = ''] = reasons;
  if (first.startsWith('Cannot use the profile')) t.match(reasons.shift(), /not a folder/);
  t.match(reasons, [/Cannot look for profiles in .*not a folder/, /Cannot keep the profile/]);
  t.equal(reasons.length, 2);
});

t.test('a profile is shipped, and whatever is none is refused in one line', async (t) => {
  const dir = workFolder(t);
  const place = { cacheDir: join(dir, 'from'), api: { endpointUrl: 'http://127.0.0.1:1' } };
  const profile = {
    snapshotId: 'snap-0123456789abcdef0',
    volumeSizeGib: 1,
    recordedAt: '2026-01-01T00:00:00.000Z',
    blocks: [
      [7, 0],
      [3, 12],
    ],
  } as const;
  const file = join(dir, 'profile.json');
  writeFileSync(file, encodeProfile(profile));
  t.strictSame(importProfile(file, place), { snapshotId: profile.snapshotId, blockCount: 2 });
  exportProfile(profile.snapshotId, join(dir, 'again.json'), place);
  t.strictSame(decodeProfile(readFileSync(join(dir, 'again.json'), 'utf8')), profile);
  t.equal(exportProfile(profile.snapshotId, '-', place), encodeProfile(profile));
  t.throws(() => exportProfile('snap-0123456789abcdef1', '-', place), { message: /there is none/ });
  t.throws(() => importProfile(dir, place), { message: /^Cannot read ".*": it is a folder/ });
  const valid: object = JSON.parse(encodeProfile(profile)) as object;
  const hostile: readonly string[] = [
    '',
    '[]',
    'null',
    '{"format":',
    ' '.repeat(3_000_000),
    ...[
      { format: 'x' },
      { version: 2 },
      { snapshotId: '../../etc/passwd' },
      { volumeSizeGib: 1e9 },
      { recordedAt: 'yesterday' },
      { blocks: [] },
      { blocks: {} },
      { blocks: [[2048, 0]] },
      { blocks: [[1.5, 0]] },
      { blocks: [[-1, 0]] },
      { blocks: [[1, 2, 3]] },
      { blocks: [[1, -1]] },
      {
        blocks: [
          [1, 0],
          [1, 1],
        ],
      },
      {
        blocks: [
          [1, 5],
          [2, 4],
        ],
      },
      { blocks: Array.from({ length: 16_385 }, (_, at) => [at, 0]), volumeSizeGib: 64 },
    ].map((change) => JSON.stringify({ ...valid, ...change })),
  ];
  for (const text of hostile) {
    t.throws(() => decodeProfile(text), ProfileFormatError, text.slice(0, 100));
    writeFileSync(file, text);
    t.throws(() => importProfile(file, place), { name: 'UsageError', message: /^Cannot import "[^\n]*$/ });
  }
  t.strictSame(
    decodeProfile(exportProfile(profile.snapshotId, '-', place)!),
    profile,
    'what was there stays',
  );
});

/** The profiles of a folder in another one, so that what is recorded there changes nothing here. */
function copyOf(t: Test, dir: string): string {
  const copy = workFolder(t);
  mkdirSync(copy, { recursive: true });
  const [snapshotId = ''] = new ProfileStore(dir, 'fake').list();
  const profile = new ProfileStore(dir, 'fake').load(snapshotId);
  if (profile !== undefined) new ProfileStore(copy, 'fake').save(profile);
  return copy;
}
