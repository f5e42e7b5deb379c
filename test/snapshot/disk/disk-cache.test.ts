import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { closeSync, readFileSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { blockBuffers } from '../../../src/ebs/block-buffers.js';
import { BLOCK_BYTES } from '../../../src/ebs/constants.js';
import { ZERO_BLOCK, type CachedBlock } from '../../../src/snapshot/block-cache.js';
import { DiskCache, type SnapshotDiskCache } from '../../../src/snapshot/disk/disk-cache.js';
import { EnvironmentError } from '../../../src/util/errors.js';
import { ManualClock } from '../../fixtures/manual-clock.js';
import { MemoryLog } from '../../fixtures/memory-log.js';
import { workFolder } from '../../fixtures/work-folder.js';

const IDENTITY = { service: 'aws', snapshotId: 'snap-1', volumeSizeGib: 1 };
const BOUND = 64 * BLOCK_BYTES;

interface Opened {
  readonly cache: DiskCache;
  readonly blocks: SnapshotDiskCache;
  readonly log: MemoryLog;
  readonly clock: ManualClock;
}

async function open(t: Test, dir: string, bytesMax = BOUND): Promise<Opened> {
  const log = new MemoryLog();
  const clock = new ManualClock();
  const cache = await DiskCache.open({ dir, bytesMax, logger: log, clock });
  t.teardown(() => cache.close());
  return { cache, blocks: cache.of(IDENTITY), log, clock };
}

const contents = new Map<number, Buffer>();

function content(seed: number): Buffer {
  const known = contents.get(seed) ?? Buffer.alloc(BLOCK_BYTES, `block ${seed};`);
  contents.set(seed, known);
  return known;
}

const checksumOf = (block: Buffer): string => createHash('sha256').update(block).digest('base64');

function store(blocks: SnapshotDiskCache, blockIndex: number, seed: number): Promise<void> {
  return blocks.store(blockIndex, content(seed), checksumOf(content(seed)));
}

function isContent(block: CachedBlock | undefined, seed: number): boolean {
  return block !== undefined && block !== ZERO_BLOCK && block.equals(content(seed));
}

const inner = (dir: string): string => join(dir, 'blocks-v1');
const segmentsIn = (dir: string): string[] =>
  readdirSync(inner(dir)).filter((name) => name.startsWith('segment-'));

function bytesOnDisk(dir: string): number {
  return readdirSync(inner(dir)).reduce((sum, name) => sum + lstatSync(join(inner(dir), name)).size, 0);
}

t.test('blocks outlive the process, each under its own name', async (t) => {
  const dir = join(workFolder(t), 'made', 'here');
  const first = await open(t, dir);
  await store(first.blocks, 7, 7);
  await store(first.blocks, 2 ** 27 - 1, 8);
  await first.cache.close();

  const { cache, blocks } = await open(t, dir);
  t.ok(isContent(await blocks.read(7), 7));
  t.ok(isContent(await blocks.read(2 ** 27 - 1), 8));
  t.equal(await blocks.read(8), undefined);
  for (const other of [{ service: 'emulator' }, { snapshotId: 'snap-2' }, { volumeSizeGib: 2 }]) {
    t.equal(await cache.of({ ...IDENTITY, ...other }).read(7), undefined, JSON.stringify(other));
  }
  t.match(cache.counts, { hits: 2, stored: 0 });
  await store(blocks, 9, 9);
  await cache.close();
  t.equal(segmentsIn(dir).length, 1, 'a segment that has room is filled on');
  const again = await open(t, dir);
  for (const index of [7, 9]) t.ok(isContent(await again.blocks.read(index), index));
});

t.test('zeros take no room, and equal blocks are there once', async (t) => {
  const dir = workFolder(t);
  const { cache, blocks } = await open(t, dir);
  await blocks.store(1, ZERO_BLOCK, '');
  t.equal(await blocks.read(1), ZERO_BLOCK);
  t.equal(segmentsIn(dir).length, 0);
  for (let index = 10; index < 30; index += 1)
    await store(cache.of({ ...IDENTITY, snapshotId: `snap-${index}` }), index, 5);
  t.match(cache.counts, { stored: 1, shared: 19 });
  t.ok(bytesOnDisk(dir) < 3 * BLOCK_BYTES);
  t.ok(isContent(await cache.of({ ...IDENTITY, snapshotId: 'snap-25' }).read(25), 5));
});

t.test('a block that waits to be written is found, and later taken from the disk', async (t) => {
  const { cache, blocks } = await open(t, workFolder(t));
  const stored = [0, 1, 2, 3].map((index) => store(blocks, index, index));
  for (const index of [3, 0]) {
    t.equal(await blocks.has(index), true);
    t.ok(isContent(await blocks.read(index), index));
  }
  t.match(cache.counts, { hits: 2, stored: 0 }, 'before it is there');
  await Promise.all(stored);
  const again = await blocks.read(3);
  t.ok(isContent(again, 3));
  t.not(again, content(3), 'another buffer');
});

t.test('a block that waits to be written keeps its memory', async (t) => {
  const { blocks } = await open(t, workFolder(t));
  const written: Promise<void>[] = [];
  for (let seed = 0; seed < 8; seed += 1) {
    const block = blockBuffers.take();
    block.set(content(seed));
    written.push(blocks.store(seed, block, checksumOf(block)));
    // As when it has been pushed out of memory, and another block comes.
    blockBuffers.drop(block);
    await new Promise(setImmediate);
    blockBuffers.take().fill(0xff);
  }
  await Promise.all(written);
  for (let seed = 0; seed < 8; seed += 1) t.ok(isContent(await blocks.read(seed), seed), `block ${seed}`);
});

t.test('it is bounded, and what is used stays longest', async (t) => {
  const dir = workFolder(t);
  const { blocks } = await open(t, dir);
  await store(blocks, 0, 0);
  for (let index = 1; index < 180; index += 1) {
    await store(blocks, index, index);
    if (!isContent(await blocks.read(0), 0)) t.fail(`after ${index} others it is gone`);
    if (bytesOnDisk(dir) > BOUND + 128 * 1024) t.fail(`${bytesOnDisk(dir)} bytes after ${index} blocks`);
  }
  t.equal(await blocks.read(1), undefined, 'the oldest that nobody used is gone');
  t.ok(isContent(await blocks.read(179), 179));
  t.ok(bytesOnDisk(dir) > BOUND / 2, 'and the room is used');
});

t.test('files are private', async (t) => {
  const dir = join(workFolder(t), 'cache');
  const { blocks, cache } = await open(t, dir);
  await store(blocks, 1, 1);
  await cache.close();
  for (const path of [dir, inner(dir)]) t.equal(lstatSync(path).mode & 0o777, 0o700);
  for (const name of readdirSync(inner(dir))) {
    t.equal(lstatSync(join(inner(dir), name)).mode & 0o777, 0o600, name);
  }
});

t.test('a folder that is not this user’s alone is refused in one line', async (t) => {
  const folder = workFolder(t);
  const refuses = async (dir: string, pattern: RegExp): Promise<void> => {
    const options = { dir, bytesMax: BOUND, logger: new MemoryLog(), clock: new ManualClock() };
    const error: unknown = await DiskCache.open(options).catch((thrown: unknown) => thrown);
    t.ok(error instanceof EnvironmentError);
    t.match(String(error), pattern);
    t.notMatch(String(error), /\n/);
  };
  const real = join(folder, 'real');
  mkdirSync(real);
  symlinkSync(real, join(folder, 'link'));
  await refuses(join(folder, 'link'), /symbolic link/);
  writeFileSync(join(folder, 'file'), '');
  await refuses(join(folder, 'file'), /Cannot keep blocks in ".*file"/);
  chmodSync(real, 0o777);
  await refuses(real, /others may write to it/);
  chmodSync(real, 0o755);
  symlinkSync(folder, inner(real));
  await refuses(real, /symbolic link/);
});

t.test('what is damaged is not given out, and is kept anew', async (t) => {
  const dir = workFolder(t);
  const { blocks } = await open(t, dir);
  for (let index = 0; index < 8; index += 1) await store(blocks, index, index);
  const [segment] = segmentsIn(dir).sort();
  const file = openSync(join(inner(dir), segment!), 'r+');
  for (const index of [1, 2]) writeSync(file, 'x', index * BLOCK_BYTES + 1000 * index);
  closeSync(file);
  for (let index = 0; index < 8; index += 1) {
    const block = await blocks.read(index);
    if (index === 1 || index === 2) t.equal(block, undefined);
    else t.ok(isContent(block, index));
  }
  await store(blocks, 2, 2);
  t.ok(isContent(await blocks.read(2), 2));
});

t.test('several processes share a folder', async (t) => {
  const dir = workFolder(t);
  const caches = await Promise.all([open(t, dir), open(t, dir), open(t, dir)]);
  const steps = caches.flatMap(({ blocks }, position) =>
    Array.from({ length: 24 }, async (_, count) => {
      const index = (position * 8 + count) % 40;
      await store(blocks, index, index);
      const block = await blocks.read(index);
      if (block !== undefined && !isContent(block, index)) t.fail(`wrong bytes of ${index}`);
    }),
  );
  await Promise.all(steps);
  let found = 0;
  for (let index = 0; index < 40; index += 1) {
    for (const { blocks } of caches) {
      const block = await blocks.read(index);
      if (block === undefined) continue;
      found += 1;
      if (!isContent(block, index)) t.fail(`wrong bytes of ${index}`);
    }
  }
  t.ok(found > 60, `${found} of 120 found`);
  t.ok(bytesOnDisk(dir) <= BOUND + 3 * 16 * BLOCK_BYTES);
});

t.test('a folder that goes away costs the cache, and one line', async (t) => {
  const dir = workFolder(t);
  const { blocks, log, clock } = await open(t, dir);
  await store(blocks, 1, 1);
  rmSync(inner(dir), { recursive: true });
  for (let index = 2; index < 40; index += 1) await store(blocks, index, index);
  for (let index = 2; index < 40; index += 1) {
    const block = await blocks.read(index);
    t.ok(block === undefined || isContent(block, index));
  }
  t.equal(log.at('warn').length, 1);
  await clock.advance(60_000);
  t.equal(await blocks.read(39), undefined);
});

t.test('an index of nonsense, and one that was cut, cost what they knew', async (t) => {
  const dir = workFolder(t);
  const first = await open(t, dir);
  await store(first.blocks, 1, 1);
  await first.cache.close();
  const index = join(
    inner(dir),
    readdirSync(inner(dir)).find((name) => name.startsWith('index-'))!,
  );
  const whole = readFileSync(index);
  for (const bytes of [
    Buffer.alloc(0),
    whole.subarray(0, 40),
    Buffer.alloc(whole.length, 0xff),
    whole.map((byte) => byte ^ 1),
  ]) {
    writeFileSync(index, bytes);
    const { blocks, cache } = await open(t, dir);
    t.equal(await blocks.read(1), undefined);
    await store(blocks, 1, 1);
    t.ok(isContent(await blocks.read(1), 1));
    await cache.close();
  }
});

t.test('any order of storing, reading, reopening and damage: the true block, or none', async (t) => {
  const step = fc.record({
    kind: fc.constantFrom('store', 'store', 'read', 'read', 'reopen', 'damage', 'remove'),
    blockIndex: fc.nat(30),
    at: fc.nat(0xffff_ffff),
  });
  const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
    const dir = workFolder(t);
    let { cache, blocks } = await open(t, dir);
    for (const { kind, blockIndex, at } of steps) {
      const names = readdirSync(inner(dir));
      const path = join(inner(dir), names[at % Math.max(1, names.length)] ?? '');
      if (kind === 'store') {
        // Every third block is equal to its neighbour.
        await store(blocks, blockIndex, blockIndex - (blockIndex % 3 === 0 ? 0 : blockIndex % 2));
      } else if (kind === 'read') {
        const block = await blocks.read(blockIndex);
        const seed = blockIndex - (blockIndex % 3 === 0 ? 0 : blockIndex % 2);
        if (block !== undefined && !isContent(block, seed)) throw new Error(`wrong bytes of ${blockIndex}`);
      } else if (kind === 'reopen') {
        await cache.close();
        ({ cache, blocks } = await open(t, dir));
      } else if (names.length === 0) {
        continue;
      } else if (kind === 'damage') {
        const file = openSync(path, 'r+');
        writeSync(file, Buffer.of(at % 251), 0, 1, at % Math.max(1, lstatSync(path).size));
        closeSync(file);
      } else {
        rmSync(path);
      }
    }
    await cache.close();
    rmSync(dir, { recursive: true });
  });
  const result = await fc.check(property, { numRuns: 15 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
});
