import t from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { silentLogger } from '../../src/util/logger.js';
import { GIB } from '../../src/util/units.js';
import { Fork, type ForkOptions } from '../../src/writer/fork.js';
import type { Clock } from '../../src/util/clock.js';
import type { ForkOrigin } from '../../src/writer/fork-facts.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { FakeEbs } from '../fixtures/fake-ebs.js';
import { fail } from '../fixtures/fake-snapshot.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';

/** What the tests write to lies here; the disk is one GiB. */
const USED = 6 * BLOCK_BYTES;

/** A clock whose time passes as soon as somebody waits for it. */
class HurriedClock implements Clock {
  #nowMs = 0;
  nowMs = (): number => this.#nowMs;
  dateMs = (): number => 1_700_000_000_000 + this.#nowMs;
  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.#nowMs += delayMs;
  }
  setTimer = (): { cancel(): void } => ({ cancel: () => undefined });
}

function originOf(originSnapshotId: string | null): ForkOrigin {
  return {
    version: 1,
    name: 'disk',
    sizeBytes: GIB,
    originSnapshotId,
    createdMs: 0,
    encrypted: false,
    kmsKeyArn: null,
  };
}

function optionsOf(ebs: FakeEbs, folder: ForgetfulFolder, more: Partial<ForkOptions> = {}): ForkOptions {
  return {
    api: ebs,
    folder,
    clock: new HurriedClock(),
    logger: silentLogger,
    openBase: async (snapshotId) => ebs.device(snapshotId),
    ...more,
  };
}

async function contentsOf(device: Pick<Fork['device'], 'read'>): Promise<Buffer> {
  return joinChunks(await device.read(0, USED), USED);
}

async function blankFork(
  ebs: FakeEbs,
  folder = new ForgetfulFolder(),
  more: Partial<ForkOptions> = {},
): Promise<Fork> {
  return Fork.create(optionsOf(ebs, folder, more), originOf(null), new MemoryDevice(GIB));
}

t.test('commits generation after generation, each the parent of the next', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  const ebs = new FakeEbs();
  ebs.unreadableCount = 2;
  const folder = new ForgetfulFolder();
  let fork = await blankFork(ebs, folder);
  const model = Buffer.alloc(USED);
  for (let generation = 0; generation < 6; generation += 1) {
    for (let operation = 0; operation < 8; operation += 1) {
      const offset = random(USED);
      const lengthBytes = Math.min(USED - offset, 1 + random(BLOCK_BYTES));
      if (random(3) === 0) {
        await fork.device.zero(offset, lengthBytes);
        model.fill(0, offset, offset + lengthBytes);
      } else {
        const data = seededBytes(`${seed}${generation}${operation}`, lengthBytes);
        await fork.device.write(offset, data);
        model.set(data, offset);
      }
    }
    const parent = fork.store.state.baseSnapshotId;
    const { snapshotId, isNew } = await fork.commit({
      description: `generation ${generation}`,
      tags: { a: 'b' },
    });
    t.ok(isNew);
    t.match(ebs.snapshots.get(snapshotId)?.request, {
      description: `generation ${generation}`,
      tags: { a: 'b' },
    });
    t.equal(ebs.snapshots.get(snapshotId)?.request.parentSnapshotId, parent);
    t.ok((await contentsOf(ebs.device(snapshotId))).equals(model), 'the snapshot holds the disk');
    t.ok((await contentsOf(fork.device)).equals(model), 'the fork goes on over it');
    t.equal(fork.store.state.allocatedPageCount, 0, 'nothing is staged any more');
    if (random(2) === 0) {
      await fork.close();
      fork = await Fork.open(optionsOf(ebs, folder));
    }
  }
  const before = ebs.callCount;
  t.match(await fork.commit(), { isNew: false, snapshotId: ebs.completed.at(-1)?.snapshotId });
  t.equal(ebs.callCount, before, 'nothing to commit costs nothing');
});

t.test(
  '[ebs: Reading / never written] puts zeros where the parent has data, or the snapshot is encrypted',
  async (t) => {
    const ebs = new FakeEbs();
    const fork = await blankFork(ebs);
    await fork.device.write(0, Buffer.alloc(2 * BLOCK_BYTES, 1));
    await fork.device.zero(4 * BLOCK_BYTES, 100 * BLOCK_BYTES);
    await fork.device.write(200 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
    const first = await fork.commit();
    t.strictSame([...(ebs.snapshots.get(first.snapshotId)?.blocks.keys() ?? [])].sort(), [0, 1]);
    await fork.device.trim(0, GIB);
    const second = await fork.commit();
    t.strictSame([...(ebs.snapshots.get(second.snapshotId)?.blocks.keys() ?? [])].sort(), [0, 1]);
    t.ok((await contentsOf(ebs.device(second.snapshotId))).equals(Buffer.alloc(USED)));
    ebs.kmsKeyArn = 'arn:aws:kms:x';
    await fork.device.zero(5 * BLOCK_BYTES, 2 * BLOCK_BYTES);
    const third = await fork.commit();
    t.strictSame([...(ebs.snapshots.get(third.snapshotId)?.blocks.keys() ?? [])].sort(), [5, 6]);
  },
);

t.test('[ebs: StartSnapshot] starts what was wished for, and the same when it asks again', async (t) => {
  const ebs = new FakeEbs();
  const folder = new ForgetfulFolder();
  const wishes = { description: 'd', encryption: { kmsKeyArn: 'arn:aws:kms:x' }, timeoutMinutes: 30 };
  let fork = await blankFork(ebs, folder, { wishes });
  await fork.device.write(0, Buffer.alloc(512, 1));
  ebs.after = () => {
    throw new Error('the answer is lost');
  };
  await t.rejects(fork.commit({ tags: { a: 'b' } }), /the answer is lost/);
  ebs.after = () => undefined;
  await fork.close();
  fork = await Fork.open(optionsOf(ebs, folder, { wishes: { timeoutMinutes: 60 } }));
  const { snapshotId } = await fork.commit({ description: 'too late' });
  const encrypted = { encrypted: true, kmsKeyArn: 'arn:aws:kms:x' };
  t.match(
    [...ebs.snapshots.values()].map(({ request }) => request),
    [{ description: 'd', tags: { a: 'b' }, timeoutMinutes: 30, ...encrypted }],
  );
  await fork.device.write(0, Buffer.alloc(512, 2));
  await t.rejects(fork.commit({ encryption: { kmsKeyArn: null } }), {
    name: 'CommitError',
    message: /inherits/,
  });
  const next = await fork.commit();
  const request = ebs.snapshots.get(next.snapshotId)?.request;
  t.match(request, { parentSnapshotId: snapshotId, timeoutMinutes: 60 });
  t.notOk('encrypted' in (request ?? {}), 'a child inherits');
});

t.test('what is written during a commit goes into the next one', async (t) => {
  const ebs = new FakeEbs();
  const fork = await blankFork(ebs);
  await fork.device.write(0, Buffer.alloc(3 * BLOCK_BYTES, 1));
  let wrote: Promise<unknown> | undefined;
  ebs.before = (operation) => {
    if (operation === EbsOperation.PutSnapshotBlock && wrote === undefined) {
      wrote = Promise.resolve(fork.device.write(100, Buffer.alloc(BLOCK_BYTES, 2)));
    }
  };
  const { snapshotId } = await fork.commit();
  await wrote;
  t.ok((await contentsOf(ebs.device(snapshotId))).subarray(0, 3 * BLOCK_BYTES).every((byte) => byte === 1));
  t.equal((await contentsOf(fork.device))[100], 2);
  const next = await fork.commit();
  t.strictSame([...(ebs.snapshots.get(next.snapshotId)?.blocks.keys() ?? [])].sort(), [0, 1]);
  t.ok((await contentsOf(ebs.device(next.snapshotId))).equals(await contentsOf(fork.device)));
});

t.test('a pending snapshot that is cancelled is replaced, and everything put again', async (t) => {
  const ebs = new FakeEbs();
  const fork = await blankFork(ebs);
  await fork.device.write(0, Buffer.alloc(5 * BLOCK_BYTES, 1));
  let cancelled = 0;
  ebs.after = (operation) => {
    if (operation === EbsOperation.PutSnapshotBlock && ebs.putCount === 3 && cancelled === 0) {
      cancelled += 1;
      ebs.cancelPending();
    }
  };
  const { snapshotId } = await fork.commit();
  t.equal(ebs.completed.length, 1);
  t.ok((await contentsOf(ebs.device(snapshotId))).equals(await contentsOf(fork.device)));
});

t.test('a service that always cancels ends in a refusal, with everything staged', async (t) => {
  const ebs = new FakeEbs();
  const fork = await blankFork(ebs);
  await fork.device.write(0, Buffer.alloc(BLOCK_BYTES, 1));
  ebs.after = () => ebs.cancelPending();
  await t.rejects(fork.commit(), { name: 'CommitError', message: /still staged/ });
  ebs.after = () => undefined;
  const { snapshotId, wasResumed } = await fork.commit();
  t.ok(wasResumed);
  t.ok((await contentsOf(ebs.device(snapshotId))).equals(await contentsOf(fork.device)));
});

t.test('puts while the disk is written, and puts again what changed', async (t) => {
  const ebs = new FakeEbs();
  const folder = new ForgetfulFolder();
  let fork = await blankFork(ebs, folder, { durability: 'remote' });
  await fork.device.write(0, Buffer.alloc(3 * BLOCK_BYTES, 1));
  await fork.device.flush();
  t.equal(ebs.putCount, 3, 'a flush returns when the blocks are there');
  await fork.device.write(0, Buffer.alloc(512, 2), { fua: true });
  t.equal(ebs.putCount, 4);
  await fork.device.trim(BLOCK_BYTES, BLOCK_BYTES);
  await fork.device.flush();
  t.equal(ebs.putCount, 5, 'zeros over what was put are put');
  await fork.close();
  fork = await Fork.open(optionsOf(ebs, folder));
  const { snapshotId } = await fork.commit();
  t.equal(ebs.putCount, 5, 'and nothing twice');
  t.ok((await contentsOf(ebs.device(snapshotId))).equals(await contentsOf(fork.device)));
});

t.test('a commit in the middle of a flush does not fail it', async (t) => {
  const ebs = new FakeEbs();
  const fork = await blankFork(ebs, new ForgetfulFolder(), { durability: 'remote' });
  await fork.device.write(0, Buffer.alloc(5 * BLOCK_BYTES, 1));
  let commit: Promise<unknown> | undefined;
  ebs.before = (operation) => {
    if (operation === EbsOperation.PutSnapshotBlock) commit ??= fork.commit();
  };
  await fork.device.flush();
  await commit;
  t.equal(ebs.completed.length, 1);
  t.ok((await contentsOf(ebs.device(ebs.completed[0]!.snapshotId))).equals(await contentsOf(fork.device)));
});

t.test('an API that refuses a flush says so', async (t) => {
  const ebs = new FakeEbs();
  const fork = await blankFork(ebs, new ForgetfulFolder(), { durability: 'remote' });
  ebs.before = () => {
    throw fail(EbsErrorKind.AccessDenied);
  };
  await fork.device.write(0, Buffer.alloc(512, 1));
  await t.rejects(fork.device.flush(), { name: 'DeviceError', errno: 'EIO' });
  ebs.before = () => undefined;
  await fork.device.flush();
  t.equal(ebs.putCount, 1);
});

t.test('without waiting, it returns when the service has accepted the snapshot', async (t) => {
  const ebs = new FakeEbs();
  const folder = new ForgetfulFolder();
  const fork = await blankFork(ebs, folder);
  await fork.device.write(0, Buffer.alloc(512, 1));
  ebs.unreadableCount = 1000;
  const { snapshotId } = await fork.commit({ noWait: true });
  t.ok(fork.isCommitting);
  await fork.close();
  ebs.snapshots.get(snapshotId)!.unreadableCount = 0;
  const again = await Fork.open(optionsOf(ebs, folder));
  t.match(await again.commit(), { snapshotId, wasResumed: true });
  t.equal(ebs.completed.length, 1);
});

/** Kills a commit at one point, starts again, and looks at what came of it. */
async function killAt(
  seed: string,
  kill: (ebs: FakeEbs, folder: ForgetfulFolder) => void,
  isPowerCut: boolean,
): Promise<string | undefined> {
  const random = seededNumbers(seed);
  const ebs = new FakeEbs();
  // The steps of a commit end with some that wait until the snapshot can be read.
  ebs.unreadableCount = 2;
  let folder = new ForgetfulFolder();
  let fork = await blankFork(ebs, folder);
  await fork.device.write(0, Buffer.alloc(2 * BLOCK_BYTES, 1));
  await fork.commit();
  await fork.device.write(1000, seededBytes(seed, BLOCK_BYTES));
  await fork.device.trim(BLOCK_BYTES + 8192, BLOCK_BYTES);
  await fork.device.write(3 * BLOCK_BYTES, Buffer.alloc(512, 3));
  await fork.device.flush();
  const expected = await contentsOf(fork.device);
  kill(ebs, folder);
  const outcome = await fork.commit().catch((error: unknown) => error);
  ebs.before = () => undefined;
  ebs.after = () => undefined;
  const wasKilled = outcome instanceof Error;
  folder = isPowerCut ? folder.crash(random) : folder.afterKill();
  fork = await Fork.open(optionsOf(ebs, folder));
  if (!(await contentsOf(fork.device)).equals(expected)) return 'the disk has changed';
  const { snapshotId } = await fork.commit();
  if (ebs.completed.length !== 2) return `${ebs.completed.length - 1} snapshots`;
  if (ebs.completed.at(-1)?.snapshotId !== snapshotId) return 'the id of another snapshot';
  if (!(await contentsOf(ebs.device(snapshotId))).equals(expected)) return 'a wrong snapshot';
  if (!(await contentsOf(fork.device)).equals(expected)) return 'the disk is wrong afterwards';
  return wasKilled ? undefined : 'not killed';
}

t.test('killed at every step and run again, it gives one snapshot, the right one', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  for (const isPowerCut of [false, true]) {
    let step = 0;
    for (; ; step += 1) {
      const found = await killAt(
        `${seed}${step}`,
        (_ebs, folder) => (folder.faults.callsLeft = step),
        isPowerCut,
      );
      if (found === 'not killed') break;
      if (found !== undefined) t.fail(`killed at change ${step} of the folder: ${found}`);
    }
    t.ok(step > 8, `${step} changes of the folder`);
    for (const isAnswerLost of [false, true]) {
      for (step = 1; ; step += 1) {
        const kill = (ebs: FakeEbs): void => {
          const first = ebs.callCount;
          ebs[isAnswerLost ? 'after' : 'before'] = (_operation, number) => {
            if (number - first >= step) throw new Error('the process was killed');
          };
        };
        const found = await killAt(`${seed}${step}`, kill, isPowerCut);
        if (found === 'not killed') break;
        if (found !== undefined)
          t.fail(`killed at call ${step}, ${isAnswerLost ? 'after' : 'before'} it: ${found}`);
      }
      t.ok(step > 5, `${step - 1} calls`);
    }
  }
});
