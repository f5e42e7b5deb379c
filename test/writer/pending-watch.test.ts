import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { Limiter } from '../../src/util/limiter.js';
import { silentLogger } from '../../src/util/logger.js';
import { GIB } from '../../src/util/units.js';
import { Fork, type ForkOptions } from '../../src/writer/fork.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { FakeEbs } from '../fixtures/fake-ebs.js';
import { fail } from '../fixtures/fake-snapshot.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { seededBytes } from '../fixtures/seeded.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** A clock whose date may be set. */
class SetClock extends ManualClock {
  jumpMs = 0;

  override dateMs(): number {
    return super.dateMs() + this.jumpMs;
  }
}

interface World {
  readonly ebs: FakeEbs;
  readonly clock: SetClock;
  readonly fork: Fork;
}

async function worldOf(more: Partial<ForkOptions> = {}): Promise<World> {
  const ebs = new FakeEbs();
  const clock = new SetClock();
  const options = {
    api: ebs,
    folder: new ForgetfulFolder(),
    clock,
    logger: silentLogger,
    openBase: async (snapshotId: string) => ebs.device(snapshotId),
    ...more,
  };
  const origin = {
    version: 1,
    name: 'disk',
    sizeBytes: GIB,
    originSnapshotId: null,
    createdMs: 0,
    encrypted: false,
    kmsKeyArn: null,
  };
  return { ebs, clock, fork: await Fork.create(options, origin, new MemoryDevice(GIB)) };
}

async function commit({ fork, clock }: World): Promise<string> {
  return (await clock.run(fork.commit())).snapshotId;
}

async function contentsOf(
  device: Pick<Fork['device'], 'read'>,
  lengthBytes = 2 * BLOCK_BYTES,
): Promise<Buffer> {
  return joinChunks(await device.read(0, lengthBytes), lengthBytes);
}

t.test('[ebs: StartSnapshot / Timeout] a pending snapshot that sits idle is kept', async (t) => {
  const world = await worldOf({ putsQuietBlocks: true, wishes: { timeoutMinutes: 60 } });
  const { ebs, clock, fork } = world;
  // Zeros are put to an encrypted snapshot, and need no hashing, which the clock would not wait for.
  ebs.kmsKeyArn = 'arn:aws:kms:us-east-1:111122223333:key/1';
  await fork.device.write(0, Buffer.alloc(BLOCK_BYTES));
  await clock.advance(3 * MINUTE_MS);
  t.equal(ebs.putCount, 1, 'a quiet block is put');
  await clock.advance(20 * MINUTE_MS);
  t.equal(ebs.putCount, 1);
  await clock.advance(15 * MINUTE_MS);
  t.equal(ebs.putCount, 2, 'and once more, long before the snapshot runs out of time');
  ebs.cancelPending();
  await clock.advance(40 * MINUTE_MS);
  t.equal(ebs.snapshots.size, 2, 'one that was cancelled all the same is noticed, and another is begun');
  t.equal(ebs.putCount, 3, 'with what was put to the first');
  t.ok((await contentsOf(ebs.device(await commit(world)))).equals(await contentsOf(fork.device)));
  t.equal(ebs.putCount, 3);
  await fork.close();
});

for (const [what, jumpMs] of [
  ['forwards', 400 * DAY_MS],
  ['back', -400 * DAY_MS],
] as const) {
  t.test(`a clock that is set ${what} loses nothing and ends nothing wrongly`, async (t) => {
    const world = await worldOf({ durability: 'remote' });
    const { ebs, clock, fork } = world;
    await fork.device.write(0, seededBytes('first', BLOCK_BYTES));
    await clock.run(fork.device.flush());
    t.equal(ebs.putCount, 1);
    clock.jumpMs = jumpMs;
    await fork.device.write(BLOCK_BYTES, seededBytes('second', BLOCK_BYTES));
    const expected = await contentsOf(fork.device);
    const first = await commit(world);
    t.ok((await contentsOf(ebs.device(first))).equals(expected));
    t.equal(ebs.putCount, 2, 'what was put before the jump counts');

    // A snapshot that is not known yet, and one that is gone, with a clock that lies about how old they are.
    clock.jumpMs = 0;
    await fork.device.write(0, seededBytes('third', BLOCK_BYTES));
    let isEarly = true;
    ebs.before = (operation) => {
      if (operation !== EbsOperation.PutSnapshotBlock || !isEarly) return;
      isEarly = false;
      clock.jumpMs = jumpMs;
      throw fail(EbsErrorKind.NotFound);
    };
    const second = await commit(world);
    t.ok((await contentsOf(ebs.device(second))).equals(await contentsOf(fork.device)));
    clock.jumpMs = 0;
    await fork.device.write(0, seededBytes('fourth', BLOCK_BYTES));
    let isThere = true;
    ebs.before = (operation) => {
      if (operation !== EbsOperation.PutSnapshotBlock || !isThere) return;
      isThere = false;
      clock.jumpMs = jumpMs;
      ebs.cancelPending();
    };
    const third = await commit(world);
    t.ok((await contentsOf(ebs.device(third))).equals(await contentsOf(fork.device)));
    t.equal(ebs.completed.length, 3);
    await fork.close();
  });
}

t.test('who may put little a second holds no place of the others', async (t) => {
  const putLimiter = new Limiter(2);
  const slow = await worldOf({ putLimiter, putsPerSecond: 0.001 });
  const quick = await worldOf({ putLimiter });
  for (const { fork } of [slow, quick]) await fork.device.write(0, Buffer.alloc(5 * BLOCK_BYTES, 1));
  const slowly = slow.fork.commit().catch((error: unknown) => error);
  while (slow.ebs.putCount === 0) await slow.clock.advance(1);
  await commit(quick);
  t.equal(slow.ebs.putCount, 1);
  await Promise.all([slow.fork.close(), quick.fork.close()]);
  t.match(await slowly, { message: 'the fork is closed' });
});
