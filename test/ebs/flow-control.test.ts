import { setMaxListeners } from 'node:events';
import t from 'tap';
import { EbsErrorKind, EbsOperation, type EbsError } from '../../src/ebs/errors.js';
import { withFlowControl } from '../../src/ebs/flow-control.js';
import { withRetry } from '../../src/ebs/retry.js';
import type { SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { Limiter } from '../../src/util/limiter.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock } from '../fixtures/manual-clock.js';

const LATENCY_MS = 30;
const EMPTY = Buffer.alloc(0);

interface Level {
  readonly clock: ManualClock;
  readonly limiter: Limiter;
  readonly api: SnapshotApi;
  /** When each call was made. */
  readonly calls: number[];
  throttled: number;
}

/** A service with a quota and a burst of a tenth of a second of it, below flow control and retrying. */
function level(
  quota: number,
  options: { inFlightMax?: number; getsPerSecond?: number; kind?: EbsErrorKind } = {},
): Level {
  const clock = new ManualClock();
  const limiter = new Limiter(options.inFlightMax ?? 64);
  const fake = new FakeSnapshot({ listed: [], fill: () => EMPTY });
  let tokens = quota / 10;
  let filledMs = 0;
  fake.hook = async (operation) => {
    if (operation !== EbsOperation.GetSnapshotBlock) return;
    const nowMs = clock.nowMs();
    found.calls.push(nowMs);
    tokens = Math.min(quota / 10, tokens + ((nowMs - filledMs) / 1000) * quota);
    filledMs = nowMs;
    const isAdmitted = tokens >= 1;
    if (isAdmitted) tokens -= 1;
    await clock.sleep(LATENCY_MS);
    if (isAdmitted) return;
    found.throttled += 1;
    throw fail(options.kind ?? EbsErrorKind.ThrottledAccount);
  };
  const get = async (request: {
    snapshotId: string;
    blockIndex: number;
  }): ReturnType<SnapshotApi['getSnapshotBlock']> => {
    await fake.hook(EbsOperation.GetSnapshotBlock, request, {});
    return { bytes: EMPTY, declaredLengthBytes: 0, checksum: '', checksumAlgorithm: '' };
  };
  const paced = withFlowControl(
    Object.assign(Object.create(fake) as SnapshotApi, { getSnapshotBlock: get }),
    { gets: { limiter, perSecond: options.getsPerSecond }, puts: { limiter: new Limiter(4) }, clock },
  );
  const found: Level = {
    clock,
    limiter,
    api: withRetry(paced, {}, { clock, random: () => 0.5 }),
    calls: [],
    throttled: 0,
  };
  return found;
}

/** Reads `count` blocks, all of them wanted at once. @returns how long it took. */
async function readAll(
  { clock, limiter, api }: Level,
  count: number,
  snapshotId = 'snap-1',
): Promise<number> {
  const startMs = clock.nowMs();
  const reads = Array.from({ length: count }, (_, blockIndex) =>
    limiter.run(() => api.getSnapshotBlock({ snapshotId, blockIndex, blockToken: 't' })),
  );
  await clock.run(Promise.all(reads));
  return clock.nowMs() - startMs;
}

for (const kind of [EbsErrorKind.ThrottledAccount, EbsErrorKind.ThrottledSnapshot]) {
  t.test(`[ebs: ${kind}] a throttled reader waits, and finds its level`, async (t) => {
    const found = level(200, { kind });
    const tookMs = await readAll(found, 1000);
    t.ok(tookMs <= 1000 * (1000 / (0.97 * 200)), `${(1_000_000 / tookMs).toFixed(1)}/s`);
    t.ok(found.throttled < 25, `${found.throttled} refused while it was found`);
    t.ok(found.limiter.inFlightMax <= 16, `${found.limiter.inFlightMax} in flight`);
    const before = found.throttled;
    await readAll(found, 1000);
    t.ok(found.throttled - before <= 10, `${found.throttled - before} refused of the next thousand`);
  });
}

t.test('a rate that was given is kept from the first second on', async (t) => {
  const found = level(10_000, { getsPerSecond: 100 });
  const tookMs = await readAll(found, 500);
  t.ok(tookMs >= 4900 && tookMs <= 5200, `${tookMs} ms`);
  const first = found.calls.filter((ms) => ms < 1000).length;
  t.ok(first <= 105, `${first} in the first second`);
  t.equal(found.throttled, 0);
});

t.test('without a quota in the way: as many as bring more, up to the bound', async (t) => {
  const found = level(1e9, { inFlightMax: 40 });
  t.equal(found.limiter.inFlightMax, 8, 'at the beginning');
  await readAll(found, 2000);
  t.equal(found.limiter.inFlightMax, 40);
});

t.test('one snapshot that is throttled does not slow down another', async (t) => {
  const clock = new ManualClock();
  const limiter = new Limiter(64);
  let refusals = 0;
  const fake = new FakeSnapshot({ listed: [] });
  const one = Object.assign(Object.create(fake) as SnapshotApi, {
    getSnapshotBlock: async ({ snapshotId }: { snapshotId: string }) => {
      await clock.sleep(LATENCY_MS);
      if (snapshotId === 'snap-slow' && (refusals += 1) % 2 === 0) throw fail(EbsErrorKind.ThrottledSnapshot);
      return { bytes: EMPTY, declaredLengthBytes: 0, checksum: '', checksumAlgorithm: '' };
    },
  });
  const api = withFlowControl(one, { gets: { limiter }, puts: { limiter: new Limiter(1) }, clock });
  const read = (snapshotId: string): Promise<unknown> =>
    api
      .getSnapshotBlock({ snapshotId, blockIndex: 0, blockToken: 't' })
      .catch((error: unknown) => (error as EbsError).kind);
  for (let round = 0; round < 20; round += 1)
    await clock.run(Promise.all([read('snap-slow'), read('snap-fast')]));
  const startMs = clock.nowMs();
  await clock.run(Promise.all(Array.from({ length: 100 }, () => read('snap-fast'))));
  t.equal(clock.nowMs() - startMs, LATENCY_MS, 'all of them at once');
});

t.test('waiting for a turn ends when the caller gives up', async (t) => {
  const found = level(10_000, { getsPerSecond: 2 });
  const controller = new AbortController();
  const get = { snapshotId: 'snap-1', blockIndex: 0, blockToken: 't' };
  const reads = [1, 2, 3].map(() => found.api.getSnapshotBlock(get, { signal: controller.signal }));
  const settled = Promise.allSettled(reads);
  await found.clock.advance(100);
  controller.abort(new Error('enough'));
  const outcomes = await found.clock.run(settled);
  t.equal(outcomes.filter(({ status }) => status === 'rejected').length, 2);
  t.equal(found.calls.length, 1);
});

t.test('[ebs: ThrottledSnapshot] what waits for a throttled snapshot holds no place of others', async (t) => {
  const clock = new ManualClock();
  const limiter = new Limiter(16);
  const slow = { tokens: 1, filledMs: 0, inFlight: 0 };
  const fake = new FakeSnapshot({ listed: [] });
  const one = Object.assign(Object.create(fake) as SnapshotApi, {
    getSnapshotBlock: async ({ snapshotId }: { snapshotId: string }) => {
      const nowMs = clock.nowMs();
      slow.tokens = Math.min(1, slow.tokens + ((nowMs - slow.filledMs) / 1000) * 5);
      slow.filledMs = nowMs;
      const isRefused = snapshotId.startsWith('snap-slow') && slow.tokens < 1;
      if (snapshotId.startsWith('snap-slow') && !isRefused) slow.tokens -= 1;
      await clock.sleep(LATENCY_MS);
      if (isRefused) throw fail(EbsErrorKind.ThrottledSnapshot);
      return { bytes: EMPTY, declaredLengthBytes: 0, checksum: '', checksumAlgorithm: '' };
    },
  });
  const paced = withFlowControl(one, { gets: { limiter }, puts: { limiter: new Limiter(1) }, clock });
  const api = withRetry(paced, {}, { clock, random: () => 0.5, getLimiter: limiter });
  const read = (snapshotId: string, signal?: AbortSignal): Promise<unknown> =>
    limiter.runIn(snapshotId, () =>
      api.getSnapshotBlock(
        { snapshotId, blockIndex: 0, blockToken: 't' },
        signal === undefined ? {} : { signal },
      ),
    );
  const ending = new AbortController();
  setMaxListeners(0, ending.signal);
  // More snapshots than there are places, each with more reads than that.
  const waiting = Array.from({ length: 20 * 15 }, (_, index) =>
    read(`snap-slow-${index % 20}`, ending.signal).catch(() => undefined),
  );
  await clock.advance(10_000);
  const startMs = clock.nowMs();
  await clock.run(Promise.all(Array.from({ length: 160 }, () => read('snap-fast'))));
  const tookMs = clock.nowMs() - startMs;
  t.ok(tookMs <= 3 * (160 / 8) * LATENCY_MS, `${tookMs} ms for 160 reads, eight at a time`);
  t.ok(limiter.waitingCount > 100, `${limiter.waitingCount} still wait in order`);
  ending.abort(new Error('enough'));
  await clock.run(Promise.all(waiting));
  t.equal(limiter.inFlightCount, 0);
});

t.test('a throttled snapshot that is forgotten while its call is under way keeps no bound', async (t) => {
  const clock = new ManualClock();
  const bounds = new Map<string, number>();
  class WatchedLimiter extends Limiter {
    override boundGroup(group: string, inFlightMax: number): void {
      super.boundGroup(group, inFlightMax);
      bounds.set(group, inFlightMax);
    }
  }
  const fake = new FakeSnapshot({ listed: [] });
  const slow = Object.assign(Object.create(fake) as SnapshotApi, {
    getSnapshotBlock: async ({ snapshotId }: { snapshotId: string }) => {
      await clock.sleep(snapshotId === 'snap-slow' ? 1000 : 1);
      if (snapshotId === 'snap-slow') throw fail(EbsErrorKind.ThrottledSnapshot);
      return { bytes: EMPTY, declaredLengthBytes: 0, checksum: '', checksumAlgorithm: '' };
    },
  });
  const gets = { limiter: new WatchedLimiter(8) };
  const api = withFlowControl(slow, { gets, puts: { limiter: new Limiter(1) }, clock });
  const get = (snapshotId: string): Promise<unknown> =>
    api.getSnapshotBlock({ snapshotId, blockIndex: 0, blockToken: 't' });
  await clock.run(get('snap-other'));
  const refused = get('snap-slow').catch((error: unknown) => error);
  await clock.run(Promise.all(Array.from({ length: 1100 }, (_, index) => get(`snap-${index}`))));
  t.match(await clock.run(refused), { kind: EbsErrorKind.ThrottledSnapshot });
  t.equal(bounds.get('snap-slow'), Number.POSITIVE_INFINITY);
});
