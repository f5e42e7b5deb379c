import * as fs from 'node:fs';
import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { systemClock } from '../../src/util/clock.js';
import type * as diskFolderModule from '../../src/writer/disk-folder.js';
import { DiskFolder } from '../../src/writer/disk-folder.js';
import { ForkDevice } from '../../src/writer/fork-device.js';
import { ForkStore } from '../../src/writer/fork-store.js';
import type { StagingFolder } from '../../src/writer/staging-folder.js';
import { joinChunks, testDeviceContract } from '../fixtures/device-contract.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

const SIZE = 2 * BLOCK_BYTES;

/** Forks that are made and crashed; SNAPNBD_CRASH_ROUNDS for more. */
const ROUNDS = Number(process.env.SNAPNBD_CRASH_ROUNDS ?? 15);
// Who asks for more has the time.
if (process.env.SNAPNBD_CRASH_ROUNDS !== undefined) t.setTimeout(0);

function originOf(sizeBytes = SIZE): Parameters<typeof ForkStore.create>[1] {
  return {
    version: 1,
    name: 'test',
    sizeBytes,
    originSnapshotId: null,
    createdMs: 0,
    encrypted: false,
    kmsKeyArn: null,
  };
}

function baseOf(contents: Uint8Array | undefined, sizeBytes = SIZE): MemoryDevice {
  const base = new MemoryDevice(sizeBytes);
  if (contents !== undefined) base.write(0, contents);
  return base;
}

async function createFork(
  folder: StagingFolder,
  contents?: Uint8Array,
  stageLimitBytes?: number,
): Promise<ForkDevice> {
  const store = await ForkStore.create({ folder, clock: systemClock, stageLimitBytes }, originOf());
  return new ForkDevice(store, baseOf(contents));
}

async function reopenFork(folder: StagingFolder, contents?: Uint8Array): Promise<ForkDevice> {
  const store = await ForkStore.open({ folder, clock: systemClock });
  return new ForkDevice(store, baseOf(contents));
}

async function contentsOf(device: ForkDevice): Promise<Buffer> {
  return joinChunks(await device.read(0, device.sizeBytes), device.sizeBytes);
}

t.test('keeps the contract of devices', async (t) => {
  const contents = seededBytes('base', SIZE);
  await t.test('in memory, blank', (t) =>
    testDeviceContract(t, {
      open: () => createFork(new ForgetfulFolder()),
      borders: [512, 4096, BLOCK_BYTES],
    }),
  );
  await t.test('on a disk, over a base', async (t) => {
    const folder = new DiskFolder(workFolder(t));
    await testDeviceContract(t, {
      open: () => createFork(folder, contents),
      contents,
      borders: [512, 4096, BLOCK_BYTES],
    });
  });
  await t.test('between two layers', async (t) => {
    const open = async (): Promise<ForkDevice> => {
      const device = await createFork(new ForgetfulFolder(), contents);
      for (let at = 0; at < SIZE; at += 12_800)
        device.write(at, contents.subarray(at, Math.min(SIZE, at + 1024)));
      await device.freeze({ description: '', tags: {}, encryption: null, timeoutMinutes: 60 });
      return device;
    };
    await testDeviceContract(t, { open, contents, borders: [512, 4096, BLOCK_BYTES] });
  });
  await t.test('over what was committed from it', async (t) => {
    const wishes = { description: '', tags: {}, encryption: null, timeoutMinutes: 60 };
    const open = async (): Promise<ForkDevice> => {
      const store = await ForkStore.create({ folder: new ForgetfulFolder(), clock: systemClock }, originOf());
      const device = new ForkDevice(store, baseOf(undefined));
      await device.write(0, contents);
      await device.freeze(wishes);
      const snapshotId = 'snap-1';
      const pending = { clientToken: '', parentSnapshotId: null, snapshotId, startedMs: 0, completing: null };
      await store.setPending(1, { ...wishes, ...pending, encrypted: false });
      await device.rebase({ snapshotId, dateMs: 0 }, baseOf(contents));
      return device;
    };
    await testDeviceContract(t, { open, contents, borders: [512, 4096, BLOCK_BYTES] });
  });
});

t.test('holds after a restart what it held', async (t) => {
  const folder = new DiskFolder(workFolder(t));
  const contents = seededBytes('base', SIZE);
  const device = await createFork(folder, contents);
  await device.write(1000, Buffer.from('hello'));
  await device.trim(BLOCK_BYTES, BLOCK_BYTES);
  await device.freeze({ description: 'd', tags: {}, encryption: null, timeoutMinutes: 60 });
  await device.write(700_000, Buffer.from('world'));
  const before = await contentsOf(device);
  await device.close();
  const again = await reopenFork(folder, contents);
  t.ok((await contentsOf(again)).equals(before));
  await again.close();
});

/** What every sector may be after a crash: what it was at the last flush, or anything written to it since. */
class Model {
  readonly #allowed: Buffer[][];

  constructor(contents: Buffer) {
    this.#allowed = Array.from({ length: SIZE / 512 }, (_, index) => [
      contents.subarray(index * 512, index * 512 + 512),
    ]);
  }

  write(start: number, data: Buffer): void {
    for (let at = 0; at < data.length; at += 512)
      this.#allowed[start + at / 512]!.push(data.subarray(at, at + 512));
  }

  flushed(mark: readonly number[]): void {
    this.#allowed.forEach((versions, index) => versions.splice(0, mark[index]! - 1));
  }

  mark(): readonly number[] {
    return this.#allowed.map((versions) => versions.length);
  }

  fault(contents: Buffer): string | undefined {
    for (const [index, versions] of this.#allowed.entries()) {
      const found = contents.subarray(index * 512, index * 512 + 512);
      if (!versions.some((version) => version.equals(found)))
        return `sector ${index} of ${versions.length} versions`;
    }
    return undefined;
  }
}

t.test('after a power cut, flushed data is exact and unflushed data old or new by sector', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  const base = seededBytes('base', SIZE);
  for (let round = 0; round < ROUNDS; round += 1) {
    let folder = new ForgetfulFolder();
    let device = await createFork(folder, base);
    let contents: Buffer = base;
    for (let life = 0; life < 4; life += 1) {
      const model = new Model(contents);
      const pending: Promise<unknown>[] = [];
      const operations = 1 + random(40);
      for (let operation = 0; operation < operations; operation += 1) {
        const start = random(SIZE / 512);
        const count = Math.min(SIZE / 512 - start, 1 + random(random(3) === 0 ? 1500 : 12));
        const kind = random(10);
        if (kind < 6) {
          const data = seededBytes(`${seed}${round}${life}${operation}`, count * 512);
          model.write(start, data);
          // Overlapping ones are waited for, so that their order is known.
          await device.write(start * 512, data);
        } else if (kind < 8) {
          model.write(start, Buffer.alloc(count * 512));
          await device.trim(start * 512, count * 512);
        } else if (kind < 9) {
          const mark = model.mark();
          const flush = device.flush().then(() => model.flushed(mark));
          if (random(2) === 0) await flush;
          else pending.push(flush.catch(() => undefined));
          if (pending.length > 0) await Promise.all(pending.splice(0));
        } else if (random(6) === 0) {
          await device
            .freeze({ description: '', tags: {}, encryption: null, timeoutMinutes: 60 }, random(2) === 0)
            .catch((error: unknown) => {
              if (!String(error).includes('one commit')) throw error;
            });
        }
      }
      folder = random(3) === 0 ? folder.afterKill() : folder.crash(random);
      device = await reopenFork(folder, base);
      contents = await contentsOf(device);
      const fault = model.fault(contents);
      if (fault !== undefined) {
        t.fail(`round ${round}, life ${life}: ${fault}`);
        return;
      }
    }
  }
  t.pass(`${ROUNDS} forks, four lives each`);
});

t.test('a full disk fails the write, and nothing else', async (t) => {
  const folder = new ForgetfulFolder();
  const device = await createFork(folder);
  await device.write(0, Buffer.alloc(4096, 1));
  await device.flush();
  folder.faults.capacityBytes = folder.sizeBytes;
  t.throws(() => device.write(4096, Buffer.alloc(512, 2)), { errno: 'ENOSPC', message: /disk is full/ });
  await t.rejects(Promise.resolve(device.write(4096, Buffer.alloc(8192, 2))), {
    name: 'DeviceError',
    errno: 'ENOSPC',
  });
  await device.trim(0, 512);
  await device.flush();
  t.equal((await contentsOf(device)).subarray(0, 8192).indexOf(1), 512, 'reads and trims go on');
  folder.faults.capacityBytes = Number.POSITIVE_INFINITY;
  await device.write(4096, Buffer.alloc(8192, 2));
  await device.flush();
  t.equal((await contentsOf(device))[4096], 2);
});

t.test('the limit of the staging is kept, and room made brings it back', async (t) => {
  const device = await createFork(new ForgetfulFolder(), undefined, 3 * 4096);
  await device.write(0, Buffer.alloc(3 * 4096, 1));
  t.throws(() => device.write(3 * 4096, Buffer.alloc(512, 2)), { errno: 'ENOSPC', message: /--stage-limit/ });
  await device.write(512, Buffer.alloc(4096, 3));
  await device.trim(0, 4096);
  await device.write(0, Buffer.alloc(4096, 4));
  t.throws(() => device.write(3 * 4096, Buffer.alloc(512, 2)), { name: 'DeviceError', errno: 'ENOSPC' });
});

t.test('a failed sync is for ever', async (t) => {
  const folder = new ForgetfulFolder();
  const device = await createFork(folder);
  await device.write(0, Buffer.alloc(512, 1));
  folder.faults.failSyncs = true;
  await t.rejects(device.flush(), { errno: 'EIO', message: /started again/ });
  folder.faults.failSyncs = false;
  await t.rejects(device.flush(), { name: 'DeviceError', errno: 'EIO' });
  t.throws(() => device.write(0, Buffer.alloc(512, 1)), { name: 'DeviceError', errno: 'EIO' });
  await t.rejects(device.trim(0, 512), { name: 'DeviceError', errno: 'EIO' });
  const read = async (): Promise<unknown> => device.read(0, 512);
  await t.rejects(read(), { name: 'DeviceError', errno: 'EIO' }, 'what was staged may not be there any more');
});

t.test('a block that was put is reopened before it is changed in place', async (t) => {
  const folder = new ForgetfulFolder();
  const store = await ForkStore.create({ folder, clock: systemClock }, originOf());
  const device = new ForkDevice(store, baseOf(undefined));
  await device.write(0, Buffer.alloc(512, 1));
  store.note({ type: 5, layerId: 1, block: 0, digest: Buffer.alloc(32, 7) });
  await device.flush();
  const before = folder.callCount;
  const writes = [2, 3].map((fill) => Promise.resolve(device.write(0, Buffer.alloc(512, fill))));
  await Promise.all(writes);
  t.ok(folder.callCount > before + 2, 'the journal was synced first');
  const killed = await ForkStore.open({ folder: folder.crash(() => 1), clock: systemClock });
  t.equal(killed.state.active.puts.putCount, 0);
  t.equal(killed.state.active.puts.owedCount, 1);
});

t.test('unaligned writes at the same time do not lose each other', async (t) => {
  const device = await createFork(new ForgetfulFolder(), seededBytes('base', SIZE));
  const expected = seededBytes('base', SIZE);
  const writes = Array.from({ length: 40 }, (_, index) => {
    const data = Buffer.alloc(30, index + 1);
    expected.set(data, 1000 + index * 30);
    return Promise.resolve(device.write(1000 + index * 30, data));
  });
  await Promise.all(writes);
  t.ok((await contentsOf(device)).equals(expected));
});

t.test('large writes that lie one behind the other', async (t) => {
  const PART_BYTES = 256 * 1024;
  const parts = Array.from({ length: 6 }, (_, index) => seededBytes(`part ${index}`, PART_BYTES));
  const all = Buffer.concat(parts);

  await t.test('are whole where the disk takes some of them in part', async (t) => {
    let joined = 0;
    const { DiskFolder: PartialFolder } = await t.mockImport<typeof diskFolderModule>(
      '../../src/writer/disk-folder.js',
      {
        'node:fs': {
          ...fs,
          writev: (...[fd, pieces, position, done]: Parameters<typeof fs.writev>) => {
            joined += pieces.length;
            const taken = Buffer.concat(pieces as Uint8Array[]).subarray(0, 1.5 * PART_BYTES);
            fs.writev(fd, [taken], position, done);
          },
        },
      },
    );
    const file = await new PartialFolder(workFolder(t)).open('data-1-0', { create: true });
    t.teardown(() => file.close());
    await Promise.all(parts.map(async (part, index) => file.write(part, index * PART_BYTES)));
    const found = Buffer.alloc(all.length);
    t.equal(await file.read(found, 0), all.length);
    t.ok(found.equals(all));
    t.ok(joined > 0, 'some were written together');
  });

  await t.test('each fail where the disk is full', async (t) => {
    const file = await new DiskFolder('/dev').open('full', { create: false });
    t.teardown(() => file.close());
    const writes = parts.map((part, index) => Promise.resolve(file.write(part, index * PART_BYTES)));
    for (const { status } of await Promise.allSettled(writes)) t.equal(status, 'rejected');
  });
});

t.test('what is written during a flush does not get into what that flush writes down', async (t) => {
  const folder = new ForgetfulFolder();
  const store = await ForkStore.create({ folder, clock: systemClock }, originOf());
  const early = seededBytes('early', 512);
  await store.write(0, early);
  // More than a frame of the journal holds, so that the bytes are in the second one.
  const put = { type: 5, layerId: 1, block: 1, digest: Buffer.alloc(32) } as const;
  for (let count = 0; count < 40_000; count += 1) store.note(put);
  const flushing = store.flush();
  await new Promise((resolve) => setImmediate(resolve));
  await store.write(8, seededBytes('late', 512));
  await flushing;
  const device = await reopenFork(folder.crash(() => 1));
  const found = await contentsOf(device);
  t.ok(found.subarray(0, 512).equals(early));
  t.ok(found.subarray(4096, 4608).equals(Buffer.alloc(512)), 'the later write was not flushed');
});
