import t from 'tap';
import type { Test } from 'tap';
import type { FaultSettings } from '../../../src/emulator/faults/settings.js';
import { createSynth } from '../../../src/emulator/synth/create-synth.js';
import { blockOf, emulatorFor, rawRequest, sha256, type TestEmulator } from '../../fixtures/ebs-emulator.js';
import {
  complete,
  failure,
  getBlock,
  listAll,
  makeSnapshot,
  putBlock,
  startSnapshot,
} from '../../fixtures/ebs-calls.js';
import { ManualClock } from '../../fixtures/manual-clock.js';

/** An emulator with one synthetic GiB, the path of its first block, and how a Get of it ends. */
async function withBlock(
  t: Test,
  clock?: ManualClock,
): Promise<{ emulator: TestEmulator; path: string; get: () => Promise<string> }> {
  const emulator = await emulatorFor(t, clock === undefined ? {} : { clock });
  const snapshotId = await createSynth({ dir: emulator.dir, volumeSizeGib: 1 });
  const { tokens } = await listAll(emulator.client, snapshotId);
  const path = `/snapshots/${snapshotId}/blocks/0?blockToken=${encodeURIComponent(tokens.get(0)!)}`;
  const get = async (): Promise<string> => {
    try {
      const { status, headers, body } = await rawRequest(emulator.url, 'GET', path);
      if (status !== 200) return `${status} ${String(headers['x-amzn-errortype']).split(':')[0]}`;
      return sha256(body) === headers['x-amz-checksum'] ? 'right' : 'corrupt';
    } catch {
      return 'cut';
    }
  };
  return { emulator, path, get };
}

async function outcomes(get: () => Promise<string>, count: number): Promise<string[]> {
  const found: string[] = [];
  for (let at = 0; at < count; at++) found.push(await get());
  return found;
}

t.test('shares are kept, drawn from the seed, and the same again', async (t) => {
  const { emulator, get } = await withBlock(t);
  const faults = { errorRate: 0.3, corruptRate: 0.2, dropRate: 0.2, seed: 7 };
  emulator.setFaults(faults);
  const first = await outcomes(get, 100);
  const kinds = new Map<string, number>();
  for (const outcome of first) kinds.set(outcome, (kinds.get(outcome) ?? 0) + 1);
  t.ok((kinds.get('500 InternalServerException') ?? 0) > 8);
  t.ok((kinds.get('503 ServiceUnavailableException') ?? 0) > 0);
  t.ok((kinds.get('cut') ?? 0) > 8);
  t.ok((kinds.get('corrupt') ?? 0) > 4);
  t.ok((kinds.get('right') ?? 0) > 25);
  emulator.setFaults(faults);
  t.strictSame(await outcomes(get, 100), first, 'the seed begins the sequence anew');
  emulator.setFaults({ seed: 8 });
  t.notSame(await outcomes(get, 100), first);
  const { byStatus, byError, corrupted } = emulator.stats().operations.GetSnapshotBlock;
  t.ok(byStatus.dropped!.requests > 20 && corrupted > 15 && byError.InternalServerException! > 20);
});

t.test('a share of 1 is always, of 0 never', async (t) => {
  const { emulator, get } = await withBlock(t);
  emulator.setFaults({ errorRate: 1 });
  t.strictSame(
    (await outcomes(get, 12)).filter((outcome) => !outcome.startsWith('50')),
    [],
  );
  emulator.setFaults({ errorRate: 0, corruptRate: 1 });
  t.strictSame(new Set(await outcomes(get, 12)), new Set(['corrupt']));
  emulator.setFaults({ corruptRate: 0, dropRate: 1 });
  t.strictSame(new Set(await outcomes(get, 12)), new Set(['cut']));
  emulator.setFaults({ dropRate: 0 });
  t.strictSame(new Set(await outcomes(get, 12)), new Set(['right']));
});

t.test('connections are cut in every operation, before or after it was done', async (t) => {
  const { client, setFaults, stats } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  setFaults({ dropRate: 1 });
  for (let at = 0; at < 12; at++) await failure(putBlock(client, snapshotId, at, blockOf(at + 1)));
  await failure(startSnapshot(client));
  await failure(listAll(client, snapshotId));
  setFaults({ dropRate: 0 });
  const stored = stats().snapshots[snapshotId]?.puts ?? 0;
  t.ok(stored > 0 && stored < 12, 'some puts were stored although their answers were cut');
  t.equal(await complete(client, snapshotId, stored), 'completed');
  t.equal((await listAll(client, snapshotId)).tokens.size, stored);
});

t.test('a damaged block is one for that answer alone, zeros too', async (t) => {
  const { client, setFaults } = await emulatorFor(t);
  const snapshotId = await makeSnapshot(
    client,
    new Map([
      [0, blockOf(0)],
      [1, blockOf(1)],
    ]),
  );
  const { tokens } = await listAll(client, snapshotId);
  for (const index of [0, 1]) {
    setFaults({ corruptRate: 1 });
    await t.rejects(getBlock(client, snapshotId, index, tokens.get(index)), /wrong checksum/);
    setFaults({ corruptRate: 0 });
    t.ok((await getBlock(client, snapshotId, index, tokens.get(index))).equals(blockOf(index)));
  }
});

t.test('[ebs: Quotas and prices] beyond a rate: ThrottlingException, and none below it', async (t) => {
  const clock = new ManualClock();
  const { emulator, get } = await withBlock(t, clock);
  emulator.setFaults({ getRate: 50 });
  const burst = await outcomes(get, 8);
  t.strictSame(burst, [
    ...Array<string>(5).fill('right'),
    ...Array<string>(3).fill('400 ThrottlingException'),
  ]);
  for (let at = 0; at < 10; at++) {
    await clock.advance(20);
    t.equal(await get(), 'right');
  }
  t.equal(await get(), '400 ThrottlingException');
  emulator.setFaults({ getRate: null });
  t.strictSame(new Set(await outcomes(get, 20)), new Set(['right']));
});

t.test('[ebs: Quotas and prices] each operation has its rate, and each snapshot', async (t) => {
  const clock = new ManualClock();
  const { client, dir, setFaults } = await emulatorFor(t, { clock });
  const [one, other] = [
    await createSynth({ dir, volumeSizeGib: 1 }),
    await createSynth({ dir, volumeSizeGib: 1 }),
  ];
  const pending = await startSnapshot(client);
  const { tokens } = await listAll(client, one, 10_000);
  const { tokens: otherTokens } = await listAll(client, other, 10_000);
  const throttled = { name: 'ThrottlingException', status: 400, reason: 'ACCOUNT_THROTTLED' };
  const limited = async (faults: Partial<FaultSettings>, call: () => Promise<unknown>): Promise<void> => {
    setFaults(faults);
    await call();
    t.match(await failure(call()), throttled, JSON.stringify(faults));
    setFaults(Object.fromEntries(Object.keys(faults).map((name) => [name, null])));
    await call();
  };
  await limited({ listRate: 1 }, () => listAll(client, one, 10_000));
  await limited({ putRate: 1 }, () => putBlock(client, pending, 0, blockOf(1)));
  await limited({ getRate: 1 }, () => getBlock(client, one, 0, tokens.get(0)));
  await limited({ startRate: 1 }, () => startSnapshot(client));
  await limited({ completeRate: 1 }, () => complete(client, one, 0));
  setFaults({ snapshotGetRate: 1 });
  await getBlock(client, one, 0, tokens.get(0));
  t.match(await failure(getBlock(client, one, 1, tokens.get(1))), {
    name: 'RequestThrottledException',
    status: 400,
    reason: 'RESOURCE_LEVEL_THROTTLE',
  });
  t.equal((await getBlock(client, other, 1, otherTokens.get(1))).length, 524_288, 'another snapshot is free');
});

t.test('latency delays every answer and holds nothing back', async (t) => {
  const clock = new ManualClock();
  const { emulator, get } = await withBlock(t, clock);
  emulator.setFaults({ latencyMs: 100 });
  const count = 300;
  const all = Promise.all(Array.from({ length: count }, get));
  while (emulator.stats().operations.GetSnapshotBlock.inFlight < count)
    await new Promise((resolve) => setTimeout(resolve, 1));
  t.equal(emulator.stats().operations.GetSnapshotBlock.byStatus['200'], undefined, 'nobody was answered');
  await clock.advance(100);
  t.strictSame(new Set(await all), new Set(['right']), 'all at once');
});

t.test('closing waits neither for latency nor for clients that linger', async (t) => {
  const clock = new ManualClock();
  const { emulator, get } = await withBlock(t, clock);
  emulator.setFaults({ latencyMs: 50_000 });
  const waiting = get();
  while (emulator.stats().operations.GetSnapshotBlock.inFlight === 0)
    await new Promise((resolve) => setTimeout(resolve, 1));
  const closing = emulator.close();
  await clock.advance(5000);
  await closing;
  t.equal(await waiting, 'cut');
  await emulator.close();
});
