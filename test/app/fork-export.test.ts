import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CallFigures } from '../../src/ebs/call-figures.js';
import { CostMeter } from '../../src/ebs/cost.js';
import { keepingError } from '../../src/app/fork-keeping-error.js';
import { openForkExport } from '../../src/app/fork-export.js';
import { listForks, discardFork } from '../../src/app/fork-keeping.js';
import type { RegisteredExport } from '../../src/app/export-registry.js';
import type { ForkSettings } from '../../src/app/settings.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import { Limiter } from '../../src/util/limiter.js';
import { silentLogger } from '../../src/util/logger.js';
import { GIB } from '../../src/util/units.js';
import { FakeEbs } from '../fixtures/fake-ebs.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { workFolder } from '../fixtures/work-folder.js';

const MINUTE_MS = 60_000;

interface Place {
  readonly ebs: FakeEbs;
  readonly clock: ManualClock;
  readonly stateDir: string;
  readonly log: MemoryLog;
}

function placeFor(t: Test): Place {
  return {
    ebs: new FakeEbs(),
    clock: new ManualClock(),
    stateDir: join(workFolder(t), 'state'),
    log: new MemoryLog(),
  };
}

function open(place: Place, forks: ForkSettings = {}, name = 'd'): Promise<RegisteredExport> {
  const connection = {
    api: place.ebs,
    limiter: new Limiter(4),
    openEc2: () => Promise.reject(new Error('there is no EC2 here')),
    figures: new CallFigures(new ManualClock()),
    meter: new CostMeter(),
    putLimiter: new Limiter(4),
    usage: () => assert.fail('nobody asks'),
    close: () => Promise.resolve(),
  };
  return openForkExport(
    name,
    { kind: 'blank', sizeBytes: GIB },
    {
      connection,
      cache: new BlockCache(BLOCK_BYTES),
      logger: place.log,
      clock: place.clock,
      forks: { stateDir: place.stateDir, ...forks },
    },
  );
}

/** Waits for what goes on outside of the clock, such as syncs, and lets up to half a minute pass on it. */
async function until(place: Place, isDone: () => boolean): Promise<void> {
  const endMs = place.clock.nowMs() + 30_000;
  while (!isDone()) {
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    if (place.clock.nowMs() < endMs) await place.clock.advance(100);
  }
}

/** Waits until so many commits have ended well. */
function untilCommitted(place: Place, count: number): Promise<void> {
  return until(place, () => commitsOf(place).length === count);
}

function commitsOf({ log }: Place): readonly unknown[] {
  return log
    .at('info')
    .filter(({ message }) => message === 'committed')
    .map(({ fields }) => fields.isNew);
}

async function write(served: RegisteredExport, block: number, fill: number): Promise<void> {
  await served.device.write?.(block * BLOCK_BYTES, Buffer.alloc(4096, fill));
}

t.test('commits when the last client says goodbye, and not when it vanishes', async (t) => {
  const place = placeFor(t);
  const served = await open(place, { commitsOnDisconnect: true });
  served.usersChanged?.(1, false);
  served.usersChanged?.(2, false);
  await write(served, 0, 1);
  served.usersChanged?.(1, true);
  served.usersChanged?.(0, false);
  await place.clock.advance(1000);
  t.equal(place.ebs.callCount, 0, 'one is still there, and then it vanishes');
  served.usersChanged?.(1, false);
  served.usersChanged?.(0, true);
  await untilCommitted(place, 1);
  t.equal(place.ebs.completed.length, 1);
  t.equal(place.ebs.completed[0]?.blocks.get(0)?.[0], 1, 'also what was not flushed');
  await served.device.close?.();
});

t.test('commits a running disk again and again, as it was last flushed, each over the last', async (t) => {
  const place = placeFor(t);
  const served = await open(place, { commitEveryMs: 15 * MINUTE_MS });
  served.usersChanged?.(1, false);
  for (let generation = 1; generation <= 3; generation += 1) {
    await write(served, 0, generation);
    await served.device.flush?.();
    await write(served, 0, 100 + generation);
    await place.clock.advance(15 * MINUTE_MS);
    await untilCommitted(place, generation);
    t.equal(place.ebs.completed.length, generation);
    const last = place.ebs.completed.at(-1);
    t.equal(last?.blocks.get(0)?.[0], generation, 'what was flushed');
    t.equal(last?.request.parentSnapshotId, place.ebs.completed.at(-2)?.snapshotId);
  }
  await place.clock.advance(15 * MINUTE_MS);
  await untilCommitted(place, 4);
  t.strictSame(commitsOf(place), [true, true, true, false], 'nothing was flushed since: nothing to commit');
  await served.device.close?.();
});

t.test('puts blocks that have been quiet for a minute, at the rate that was asked for', async (t) => {
  const place = placeFor(t);
  const served = await open(place, { putsPerSecond: 2, wishes: { description: 'quiet' } });
  for (let block = 0; block < 12; block += 1) await write(served, block, 1);
  await place.clock.advance(59_000);
  t.equal(place.ebs.putCount, 0, 'not yet');
  await place.clock.advance(61_000);
  await until(place, () => place.ebs.putCount > 0);
  const startedMs = place.clock.nowMs();
  await until(place, () => place.ebs.putCount === 12);
  t.equal(place.ebs.putCount, 12);
  t.ok(place.clock.nowMs() - startedMs >= 5000, 'two a second');
  t.equal([...place.ebs.snapshots.values()][0]?.request.description, 'quiet');
  await write(served, 3, 2);
  await place.clock.advance(3 * MINUTE_MS);
  await until(place, () => place.ebs.putCount > 12);
  t.equal(place.ebs.putCount, 13, 'what is written again is put again, and nothing else');
  const [status] = await listForks({ stateDir: place.stateDir }, silentLogger);
  t.match(status, { name: 'd', state: 'dirty', pendingSnapshotId: /^snap-/ });
  await t.rejects(discardFork('d', { stateDir: place.stateDir }, silentLogger), {
    name: 'EnvironmentError',
    message: /has it. Stop that one first/,
  });
  await served.device.close?.();
});

t.test('odd names have forks of their own', async (t) => {
  const place = placeFor(t);
  const names = ['..', '.', 'a/b', 'a%2fb', '名前', 'x'.repeat(4096), 'Ω\n\t', 'lock', ' '];
  for (const [index, name] of names.entries()) {
    const served = await open(place, {}, name);
    await write(served, 0, index + 1);
    await served.device.close?.();
  }
  const settings = { stateDir: place.stateDir };
  t.strictSame((await listForks(settings, silentLogger)).map(({ name }) => name).sort(), [...names].sort());
  for (const name of names) await discardFork(name, settings, silentLogger);
  t.strictSame(await listForks(settings, silentLogger), []);
});

t.test('many forks are made at once in a folder that is not there', async (t) => {
  const place = placeFor(t);
  const served = await Promise.all(['a', 'b', 'c', 'd'].map((name) => open(place, {}, name)));
  t.equal((await listForks({ stateDir: place.stateDir }, silentLogger)).length, 4);
  for (const { device } of served) await device.close?.();
});

t.test('says why a fork cannot be kept where it should be, and what helps', async (t) => {
  const advice = (code: string): string =>
    keepingError('d', '/state/d', Object.assign(new Error(`${code}: as the system says it`), { code }))
      .message;
  t.equal(
    advice('EROFS'),
    'Cannot keep the fork "d" in /state/d: the file system is read-only. Mount it for writing, or name another folder with --state-dir.',
  );
  t.match(advice('EACCES'), /: permission denied\. Give this user the right to write there, or name another/);
  t.match(advice('ENOSPC'), /: no space left on the disk\. Make room there, or name another/);
  t.match(advice('EIO'), /: EIO: as the system says it\. Name another folder with --state-dir\.$/);
  const place = placeFor(t);
  writeFileSync(place.stateDir, 'a file where the folder should be');
  await t.rejects(open(place), {
    message: /^Cannot keep the fork "d" in .*\. Name another folder with --state-dir\.$/,
  });
});
