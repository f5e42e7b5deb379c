import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { systemClock } from '../../src/util/clock.js';
import { ForkDevice } from '../../src/writer/fork-device.js';
import { joinWishes, type ForkOrigin } from '../../src/writer/fork-facts.js';
import { ForkStore } from '../../src/writer/fork-store.js';
import { RecordType } from '../../src/writer/journal-record.js';
import { PutState } from '../../src/writer/put-table.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';

const SIZE = 3 * BLOCK_BYTES;
const SECTORS = SIZE / 512;
/** SNAPNBD_CRASH_ROUNDS for more. */
const ROUNDS = Number(process.env.SNAPNBD_CRASH_ROUNDS ?? 5);
// Who asks for more has the time.
if (process.env.SNAPNBD_CRASH_ROUNDS !== undefined) t.setTimeout(0);

const ORIGIN: ForkOrigin = {
  version: 1,
  name: 'test',
  sizeBytes: SIZE,
  originSnapshotId: null,
  createdMs: 0,
  encrypted: false,
  kmsKeyArn: null,
};
const WISHES = joinWishes(ORIGIN);

async function newFork(folder: ForgetfulFolder): Promise<{ store: ForkStore; device: ForkDevice }> {
  const store = await ForkStore.create({ folder, clock: systemClock }, ORIGIN);
  return { store, device: new ForkDevice(store, new MemoryDevice(SIZE)) };
}

async function bytesOf(view: Pick<ForkDevice, 'read'>): Promise<Buffer> {
  return joinChunks(await view.read(0, SIZE), SIZE);
}

function baseOf(contents: Uint8Array): MemoryDevice {
  const base = new MemoryDevice(SIZE);
  base.write(0, contents);
  return base;
}

/** Does as `snapnbd commit` does when the snapshot can be read. */
async function commitFrozen(store: ForkStore, device: ForkDevice, snapshotId: string): Promise<void> {
  const { frozen } = store.state;
  const contents = joinChunks(await device.frozenView().read(0, SIZE), SIZE);
  await store.setPending(frozen!.id, {
    ...WISHES,
    clientToken: 'x',
    parentSnapshotId: null,
    snapshotId,
    startedMs: 0,
    completing: null,
    ...{ encrypted: false },
  });
  await device.rebase({ snapshotId, dateMs: 0 }, baseOf(contents));
}

t.test('a disk in use is frozen as it was last flushed, whatever was written since', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  for (let round = 0; round < ROUNDS; round += 1) {
    const { store, device } = await newFork(new ForgetfulFolder());
    const now = Buffer.alloc(SIZE);
    let flushed = Buffer.alloc(SIZE);
    for (let operation = 0; operation < 60; operation += 1) {
      const start = random(SECTORS);
      const count = Math.min(SECTORS - start, 1 + random(random(4) === 0 ? 1800 : 20));
      const kind = random(12);
      if (kind < 6) {
        const data = seededBytes(`${seed}${round}${operation}`, count * 512);
        await device.write(start * 512, data);
        now.set(data, start * 512);
      } else if (kind < 9) {
        await device.trim(start * 512, count * 512);
        now.fill(0, start * 512, (start + count) * 512);
      } else if (kind < 10) {
        await device.flush();
        flushed = Buffer.from(now);
      } else if (kind < 11) {
        // Not of a client: what is durable is not what was flushed.
        await store.flush();
      } else {
        const isEmpty = store.isPointEmpty;
        await device.freeze(WISHES, true);
        t.equal(store.state.frozen?.isEmpty, isEmpty, `${seed} ${round} ${operation}: empty or not`);
        const frozen = joinChunks(await device.frozenView().read(0, SIZE), SIZE);
        if (!frozen.equals(flushed)) {
          t.fail(`round ${round}, operation ${operation}: frozen`);
          return;
        }
        if (!(await bytesOf(device)).equals(now)) {
          t.fail(`round ${round}, ${operation}: the disk`);
          return;
        }
        await commitFrozen(store, device, `snap-${operation}`);
        if (!(await bytesOf(device)).equals(now)) {
          t.fail(`round ${round}, ${operation}: rebased`);
          return;
        }
      }
    }
  }
  t.pass(`${ROUNDS} forks`);
});

t.test('killed or cut off anywhere in a freeze, what was flushed is exact', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  for (const isPowerCut of [false, true]) {
    let step = 0;
    for (; step < 200; step += 1) {
      const folder = new ForgetfulFolder();
      const { device } = await newFork(folder);
      await device.write(0, seededBytes('a', BLOCK_BYTES));
      await device.write(BLOCK_BYTES + 4096, seededBytes('b', 8192));
      await device.flush();
      const flushed = await bytesOf(device);
      await device.write(512, seededBytes('c', 5120));
      await device.trim(BLOCK_BYTES, 8192);
      await device.write(BLOCK_BYTES + 512, seededBytes('d', 4096));
      await device.write(2 * BLOCK_BYTES, seededBytes('e', 1024));
      const now = await bytesOf(device);
      folder.faults.callsLeft = step;
      const outcome = await device.freeze(WISHES, true).catch((error: unknown) => error);
      const after = isPowerCut ? folder.crash(random) : folder.afterKill();
      const store = await ForkStore.open({ folder: after, clock: systemClock });
      const found = await bytesOf(new ForkDevice(store, new MemoryDevice(SIZE)));
      for (let at = 0; at < SIZE; at += 512) {
        const sector = found.subarray(at, at + 512);
        const isOld = sector.equals(flushed.subarray(at, at + 512));
        // Trimmed, then written: either of the two.
        const isTrimmed = at >= BLOCK_BYTES && at < BLOCK_BYTES + 8192 && sector.equals(Buffer.alloc(512));
        if (!isOld && !isTrimmed && !sector.equals(now.subarray(at, at + 512))) {
          t.fail(`killed at change ${step}: sector ${at / 512}`);
          return;
        }
      }
      if (store.state.frozen !== undefined) {
        const frozen = await new ForkDevice(store, new MemoryDevice(SIZE)).frozenView().read(0, SIZE);
        if (!joinChunks(frozen, SIZE).equals(flushed)) {
          t.fail(`killed at ${step}: frozen`);
          return;
        }
      }
      if (outcome === undefined) break;
    }
    t.ok(step > 8 && step < 200, `${step} changes of the folder`);
  }
});

t.test('a block that was put with what is taken out again is put once more', async (t) => {
  const { store, device } = await newFork(new ForgetfulFolder());
  await device.write(0, Buffer.alloc(4096, 1));
  await device.flush();
  await device.write(0, Buffer.alloc(512, 2));
  store.note({ type: RecordType.Put, layerId: 1, block: 0, digest: Buffer.alloc(32, 7) });
  await device.freeze(WISHES, true);
  t.equal(store.state.frozen?.puts.get(0), PutState.Owed);
});

t.test('where more has changed than is remembered, the commit is a flush itself', async (t) => {
  const { store, device } = await newFork(new ForgetfulFolder());
  await device.write(0, Buffer.alloc(BLOCK_BYTES, 1));
  await device.flush();
  for (let fill = 2; fill < 200; fill += 1) await device.write(0, Buffer.alloc(BLOCK_BYTES, fill));
  t.notOk(store.isPointEmpty);
  await device.freeze(WISHES, true);
  const frozen = joinChunks(await device.frozenView().read(0, SIZE), SIZE);
  t.ok(
    frozen.subarray(0, BLOCK_BYTES).every((byte) => byte === 199),
    'nothing half',
  );
  await device.write(0, Buffer.alloc(512, 5));
  await device.flush();
  await commitFrozen(store, device, 'snap-1');
  await device.write(0, Buffer.alloc(512, 6));
  await device.freeze(WISHES, true);
  t.equal((await device.frozenView().read(0, 512))[0]?.[0 as never], 5, 'and there is a way back again');
});

t.test('a flush that comes during a freeze holds, wherever it is cut off after that', async (t) => {
  for (let trial = 0; trial < 80; trial += 1) {
    const folder = new ForgetfulFolder();
    const { device } = await newFork(folder);
    await device.write(0, Buffer.alloc(4096, 1));
    await device.flush();
    await device.write(0, Buffer.alloc(4096, 2));
    const freezing = device.freeze(WISHES, true).catch(() => undefined);
    for (let turn = 0; turn < trial % 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await device.flush();
    folder.faults.callsLeft = Math.floor(trial / 20) * 2;
    await freezing;
    for (const isKept of [0, 1]) {
      const store = await ForkStore.open({ folder: folder.crash(() => isKept), clock: systemClock });
      const found = await bytesOf(new ForkDevice(store, new MemoryDevice(SIZE)));
      if (!found.subarray(0, 4096).equals(Buffer.alloc(4096, 2))) {
        t.fail(`trial ${trial}, ${isKept}`);
        return;
      }
    }
  }
  t.pass('all of them');
});
