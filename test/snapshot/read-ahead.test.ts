import t, { type Test } from 'tap';
import { DeviceError } from '../../src/device/device-error.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import {
  openSnapshotDevice,
  type SnapshotDevice,
  type SnapshotDeviceOptions,
} from '../../src/snapshot/snapshot-device.js';
import { Limiter } from '../../src/util/limiter.js';
import { KIB } from '../../src/util/units.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock, settle } from '../fixtures/manual-clock.js';
import { seededNumbers } from '../fixtures/seeded.js';

const LATENCY_MS = 50;

interface Opened {
  readonly device: SnapshotDevice;
  readonly clock: ManualClock;
}

function fakeOf(listed: readonly number[]): FakeSnapshot {
  return new FakeSnapshot({
    listed,
    fill: (blockIndex) => Buffer.alloc(BLOCK_BYTES, 1 + (blockIndex % 255)),
  });
}

/** A device behind an API that takes a while for each call. */
async function open(
  t: Test,
  fake: FakeSnapshot,
  options: Partial<SnapshotDeviceOptions> = {},
): Promise<Opened> {
  const clock = new ManualClock();
  const device = await openSnapshotDevice({
    api: fake,
    snapshotId: 'snap-0123456789abcdef0',
    cache: new BlockCache(512 * BLOCK_BYTES),
    limiter: new Limiter(64),
    clock,
    ...options,
  });
  fake.hook = (operation, _request, { signal }) =>
    operation === EbsOperation.GetSnapshotBlock ? clock.sleep(LATENCY_MS, signal) : undefined;
  t.teardown(() => device.close());
  return { device, clock };
}

async function readAt({ device, clock }: Opened, offset: number, lengthBytes: number): Promise<Buffer> {
  const result = device.read(offset, lengthBytes);
  return joinChunks(result instanceof Promise ? await clock.run(result) : result, lengthBytes);
}

/** Reads a range in requests of 64 KiB, one after the other, and compares it. */
async function readThrough(
  opened: Opened,
  fake: FakeSnapshot,
  startIndex: number,
  endIndex: number,
): Promise<void> {
  for (let blockIndex = startIndex; blockIndex < endIndex; blockIndex += 1) {
    const expected = fake.content(blockIndex);
    for (let at = 0; at < BLOCK_BYTES; at += 64 * KIB) {
      const bytes = await readAt(opened, blockIndex * BLOCK_BYTES + at, 64 * KIB);
      if (!bytes.equals(expected.subarray(at, at + 64 * KIB)))
        throw new Error(`wrong bytes in block ${blockIndex}`);
    }
  }
}

/** Places from 0 on, by Zipf's law; the popular ones next to one another at the beginning, or scattered as fio has them. */
function zipfPlaces(
  count: number,
  { exponent, isScattered }: { readonly exponent: number; readonly isScattered: boolean },
  random: (below: number) => number,
): () => number {
  const sums: number[] = [];
  let sum = 0;
  for (let rank = 1; rank <= count; rank += 1) sums.push((sum += rank ** -exponent));
  return () => {
    const wanted = (random(2 ** 32) / 2 ** 32) * sum;
    const rank = sums.findIndex((reached) => reached > wanted);
    // An odd factor, so that each place is hit by one rank.
    return isScattered ? (rank * 20_021) % count : rank;
  };
}

const sorted = (numbers: readonly number[]): readonly number[] => [...numbers].sort((a, b) => a - b);
const range = (start: number, end: number): number[] =>
  Array.from({ length: end - start }, (_, position) => start + position);

t.test(
  'a sequential reader finds most blocks there: one Get each, none for a hole, none past the last',
  async (t) => {
    const listed = [...range(0, 90), ...range(100, 130), ...range(140, 200)];
    const fake = fakeOf(listed);
    const opened = await open(t, fake);
    await readThrough(opened, fake, 0, 220);
    t.strictSame(sorted(fake.gets), listed);
    const alone = listed.length * LATENCY_MS;
    t.ok(opened.clock.nowMs() < alone / 8, `${opened.clock.nowMs()} ms of ${alone} without read-ahead`);
    t.equal(fake.lists.length, 1);
  },
);

t.test('without read-ahead blocks come when they are asked for', async (t) => {
  const fake = fakeOf(range(0, 20));
  const opened = await open(t, fake, { readsAhead: false });
  await readThrough(opened, fake, 0, 10);
  t.strictSame(fake.gets, range(0, 10));
  t.equal(opened.clock.nowMs(), 10 * LATENCY_MS);
});

t.test('the next list page is fetched ahead as well', async (t) => {
  const listed = range(0, 300);
  const fake = fakeOf(listed);
  fake.shorten = (blocks) => Math.min(blocks.length, 60);
  const opened = await open(t, fake);
  await readThrough(opened, fake, 0, 300);
  t.strictSame(sorted(fake.gets), listed);
  t.equal(fake.lists.length, 5);
});

t.test('reads at random fetch what they read, and nothing else', async (t) => {
  const fake = fakeOf(range(0, 2048));
  const opened = await open(t, fake);
  const random = seededNumbers('at random');
  const touched = new Set<number>();
  const reads = Array.from({ length: 400 }, () => random((2048 * BLOCK_BYTES) / (4 * KIB)) * 4 * KIB);
  for (const offset of reads) {
    touched.add(Math.floor(offset / BLOCK_BYTES));
    await readAt(opened, offset, 4 * KIB);
  }
  t.strictSame(sorted(fake.gets), sorted([...touched]));
});

t.test(
  'a stream that stops has wasted no more than it has read; what nobody waits for is not fetched',
  async (t) => {
    const fake = fakeOf(range(0, 2048));
    const limiter = new Limiter(4);
    const opened = await open(t, fake, { limiter });
    await readThrough(opened, fake, 0, 6);
    await opened.clock.advance(1000);
    t.ok(fake.gets.length <= 12, `${fake.gets.length} blocks`);
    t.equal(limiter.inFlightCount + limiter.waitingCount, 0);
  },
);

t.test(
  'reads whose places are distributed by Zipf’s law fetch each block once, and hardly any for nothing',
  async (t) => {
    const disks = [
      { exponent: 1.2, isScattered: true },
      { exponent: 1.2, isScattered: false },
      { exponent: 0.8, isScattered: true },
    ];
    for (const disk of disks) {
      const fake = fakeOf(range(0, 2048));
      const { device, clock } = await open(t, fake);
      const place = zipfPlaces(2048 * 16, disk, seededNumbers('zipf'));
      const touched = new Set<number>();
      for (let round = 0; round < 20; round += 1) {
        const offsets = Array.from({ length: 16 }, () => place() * 32 * KIB);
        for (const offset of offsets) touched.add(Math.floor(offset / BLOCK_BYTES));
        await clock.run(Promise.all(offsets.map(async (offset) => device.read(offset, 4 * KIB))));
      }
      const wasted = fake.gets.filter((blockIndex) => !touched.has(blockIndex)).length;
      t.equal(new Set(fake.gets).size, fake.gets.length, 'each block once');
      t.ok(wasted <= 0.02 * fake.gets.length, `${wasted} of ${fake.gets.length} for nothing`);
    }
  },
);

t.test('demand goes before what is fetched ahead', async (t) => {
  const fake = fakeOf(range(0, 2048));
  const opened = await open(t, fake, { limiter: new Limiter(2) });
  await readThrough(opened, fake, 0, 20);
  const before = opened.clock.nowMs();
  await readAt(opened, 1000 * BLOCK_BYTES, 4 * KIB);
  t.ok(opened.clock.nowMs() - before <= 2 * LATENCY_MS, 'it waits for one place, not for the queue');
});

t.test('what is ahead is no more than the cache can bear', async (t) => {
  const listed = range(0, 256);
  for (const cacheBlocks of [0, 1, 8, 40]) {
    const fake = fakeOf(listed);
    const opened = await open(t, fake, { cache: new BlockCache(cacheBlocks * BLOCK_BYTES) });
    let runningMax = 0;
    let running = 0;
    const hook = fake.hook;
    fake.hook = async (...call) => {
      running += 1;
      runningMax = Math.max(runningMax, running);
      await hook(...call);
      running -= 1;
    };
    for (const blockIndex of range(0, 60)) await readAt(opened, blockIndex * BLOCK_BYTES, BLOCK_BYTES);
    t.ok(runningMax <= 1 + cacheBlocks / 2, `${runningMax} of ${cacheBlocks} at once`);
    t.equal(new Set(fake.gets).size, fake.gets.length, 'each block once');
  }
});

t.test('streams share what the cache can bear', async (t) => {
  const fake = fakeOf(range(0, 2048));
  const opened = await open(t, fake, { cache: new BlockCache(64 * BLOCK_BYTES) });
  for (const at of range(0, 60)) {
    for (const start of [0, 500, 1000, 1500]) await readAt(opened, (start + at) * BLOCK_BYTES, BLOCK_BYTES);
  }
  t.equal(new Set(fake.gets).size, fake.gets.length, 'nothing was pushed out before it was read');
  t.ok(fake.gets.length <= 4 * (60 + 32));
});

t.test('readers who share a disk out among them fetch no block twice', async (t) => {
  const fake = fakeOf(range(0, 300));
  const opened = await open(t, fake, { cache: new BlockCache(64 * BLOCK_BYTES) });
  await readThrough(opened, fake, 150, 300);
  await readThrough(opened, fake, 0, 150);
  await opened.clock.advance(1000);
  t.equal(
    fake.gets.length,
    300,
    'the second reader ends where the first began, and nothing beyond is fetched for it',
  );
  const before = opened.clock.nowMs();
  await readThrough(opened, fake, 0, 150);
  t.ok(
    opened.clock.nowMs() - before < (150 * LATENCY_MS) / 4,
    'whoever reads all of it again is read ahead for',
  );
});

t.test('a failure ahead of the reader is nobody’s yet, and the reader hears of its own', async (t) => {
  const fake = fakeOf(range(0, 100));
  const opened = await open(t, fake);
  const { hook } = fake;
  fake.hook = async (...call) => {
    await hook(...call);
    const { blockIndex } = call[1] as { blockIndex: number };
    if (blockIndex >= 40) throw fail(EbsErrorKind.AccessDenied);
  };
  await readThrough(opened, fake, 0, 40);
  await t.rejects(readAt(opened, 40 * BLOCK_BYTES, 10), DeviceError);
  fake.hook = hook;
  await readThrough(opened, fake, 40, 100);
});

t.test('closing drops what was to be fetched ahead', async (t) => {
  const fake = fakeOf(range(0, 2048));
  const limiter = new Limiter(2);
  const opened = await open(t, fake, { limiter });
  await readThrough(opened, fake, 0, 30);
  t.ok(limiter.waitingCount > 0);
  opened.device.close();
  await settle();
  t.equal(limiter.waitingCount, 0);
  t.equal(limiter.inFlightCount, 0);
});
