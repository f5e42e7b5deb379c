import t from 'tap';
import { EbsError, EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { withRetry, type RetryObserver } from '../../src/ebs/retry.js';
import type { CallOptions, SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { Limiter } from '../../src/util/limiter.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock, settle } from '../fixtures/manual-clock.js';
import { MemoryLog } from '../fixtures/memory-log.js';

const GET = { snapshotId: 'snap-1', blockIndex: 0, blockToken: '0:0:t' };

/** A snapshot whose calls fail as the list says, one entry a call, and then succeed. */
function failing(kinds: (EbsErrorKind | undefined)[]): FakeSnapshot {
  const api = new FakeSnapshot({ listed: [0] });
  api.hook = () => {
    const kind = kinds.shift();
    if (kind !== undefined) throw fail(kind);
  };
  return api;
}

function always(kind: EbsErrorKind): FakeSnapshot {
  const api = new FakeSnapshot({ listed: [0] });
  api.hook = () => {
    throw fail(kind);
  };
  return api;
}

async function errorOf(promise: Promise<unknown>): Promise<EbsError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof EbsError) return error;
    throw error;
  }
  throw new Error('it should have failed');
}

t.test('[ebs: Retry] what may succeed later is tried again, until it does', async (t) => {
  const { Server, Network, Timeout, Dns, CorruptBlock, IncompleteUpload, MalformedAnswer } = EbsErrorKind;
  const kinds = [Server, Network, Timeout, Dns, CorruptBlock, IncompleteUpload, MalformedAnswer];
  const clock = new ManualClock();
  const fake = failing([...kinds]);
  const api = withRetry(fake, {}, { clock, random: () => 1 });
  const block = await clock.run(api.getSnapshotBlock(GET));
  t.equal(block.bytes.length, 524_288);
  t.equal(fake.gets.length, kinds.length + 1);
});

t.test('[ebs: Retry] what stays as it is, is not tried again', async (t) => {
  const kept = Object.values(EbsErrorKind).filter((kind) => !fail(kind).retryable);
  t.ok(kept.includes('access-denied') && kept.includes('not-found') && kept.includes('quota'));
  for (const kind of kept) {
    const fake = always(kind);
    const error = await errorOf(withRetry(fake, {}, { clock: new ManualClock() }).getSnapshotBlock(GET));
    t.equal(error.kind, kind);
    t.equal(fake.gets.length, 1, kind);
  }
});

t.test('back-off doubles up to its bound, with full jitter', async (t) => {
  const clock = new ManualClock();
  const times: number[] = [];
  const fake = new FakeSnapshot({ listed: [0] });
  fake.hook = () => {
    times.push(clock.nowMs());
    if (times.length < 6) throw fail('server');
  };
  const randoms = [1, 0.5, 1, 1, 0];
  const policy = { backoffBaseMs: 100, backoffMaxMs: 500 };
  const api = withRetry(fake, policy, { clock, random: () => randoms.shift() ?? 1 });
  await clock.run(api.getSnapshotBlock(GET));
  t.same(times, [0, 100, 200, 600, 1100, 1100]);
});

t.test('tries are bounded, and the error says how many there were', async (t) => {
  const clock = new ManualClock();
  const fake = always('server');
  const api = withRetry(fake, { triesMax: 3 }, { clock, random: () => 1 });
  const error = await errorOf(clock.run(api.getSnapshotBlock(GET)));
  t.equal(fake.gets.length, 3);
  t.equal(error.kind, 'server');
  t.match(error.message, /Given up after 3 tries in 0\.\d s/);
});

t.test('time is bounded, tries under way included', async (t) => {
  const clock = new ManualClock();
  const timeouts: number[] = [];
  const fake = new FakeSnapshot({ listed: [0] });
  fake.hook = async (_operation, _request, options: CallOptions) => {
    timeouts.push(options.timeoutMs!);
    await clock.sleep(Math.min(9000, options.timeoutMs!));
    throw fail('timeout');
  };
  const api = withRetry(fake, { retryTotalMs: 20_000 }, { clock, random: () => 1 });
  await errorOf(clock.run(api.getSnapshotBlock(GET)));
  t.ok(clock.nowMs() <= 20_000, `${clock.nowMs()}`);
  t.equal(timeouts[0], 20_000);
  t.ok(timeouts.at(-1)! < 3000, 'the last try had what was left');
});

t.test('throttling has its own bound, and costs no tries', async (t) => {
  const clock = new ManualClock();
  const kinds: EbsErrorKind[] = [];
  for (let round = 0; round < 30; round += 1) kinds.push('throttled-account', 'throttled-snapshot');
  const fake = failing([...kinds, 'server', 'server']);
  const api = withRetry(fake, { triesMax: 3 }, { clock, random: () => 1 });
  await clock.run(api.getSnapshotBlock(GET));
  t.equal(fake.gets.length, 63);
  t.ok(clock.nowMs() > 60_000, 'longer than anything else would have been waited for');

  const endless = always('throttled-account');
  const startMs = clock.nowMs();
  const error = await errorOf(clock.run(withRetry(endless, {}, { clock }).getSnapshotBlock(GET)));
  t.equal(error.kind, 'throttled-account');
  t.ok(clock.nowMs() - startMs <= 300_000);
  t.ok(clock.nowMs() - startMs > 290_000);
});

t.test('a call that waited behind others fails with them while the service is down', async (t) => {
  const clock = new ManualClock();
  const limiter = new Limiter(4);
  const fake = new FakeSnapshot({ listed: [0] });
  let down = true;
  fake.hook = async (_operation, _request, options: CallOptions) => {
    if (!down) return;
    await clock.sleep(Math.min(3000, options.timeoutMs!), options.signal);
    throw fail('timeout');
  };
  const api = withRetry(fake, {}, { clock, random: () => 0.5 });
  const askedMs = clock.nowMs();
  const reads = Array.from({ length: 100 }, () =>
    errorOf(limiter.run(() => api.getSnapshotBlock(GET, { askedMs }))),
  );
  const errors = await clock.run(Promise.all(reads));
  t.ok(clock.nowMs() - askedMs <= 20_000, 'all of them within the bound of one');
  t.ok(fake.gets.length < 4 * 20, `${fake.gets.length} tries for 100 reads`);
  t.match(errors.at(-1)!.message, /waited (?:1\d\.\d|20\.0) s behind calls that failed/);
  t.equal(errors.at(-1)!.kind, 'timeout');

  // Asked after the bound has passed, a read gets its own time; and the first success ends it all.
  down = false;
  await clock.run(api.getSnapshotBlock(GET, { askedMs: clock.nowMs() }));
});

t.test('a call that waited long behind others that succeed has all of its tries', async (t) => {
  const clock = new ManualClock();
  const fake = failing([undefined, 'server', 'server', undefined]);
  const api = withRetry(fake, {}, { clock });
  await clock.run(api.getSnapshotBlock(GET));
  await clock.advance(15_000);
  const first = api.getSnapshotBlock(GET, { askedMs: 0 });
  await clock.advance(0);
  await clock.run(first);
  t.equal(fake.gets.length, 4);
});

t.test('a failure in passing does not make others give up', async () => {
  const clock = new ManualClock();
  const fake = failing([undefined, 'server', undefined, undefined]);
  const api = withRetry(fake, {}, { clock, random: () => 1 });
  await clock.run(api.getSnapshotBlock(GET));
  await clock.advance(600_000);
  const retried = api.getSnapshotBlock(GET);
  await settle();
  // The service answered long ago, and has failed once since: a read that is asked now is not late.
  await api.getSnapshotBlock(GET, { askedMs: clock.nowMs() });
  await clock.run(retried);
});

t.test('the caller may bound one call more closely', async (t) => {
  const clock = new ManualClock();
  const fake = always('network');
  const api = withRetry(fake, {}, { clock });
  await errorOf(clock.run(api.getSnapshotBlock(GET, { retryTotalMs: 3000 })));
  t.ok(clock.nowMs() <= 3000);
});

t.test('waiting ends when the caller goes', async (t) => {
  const clock = new ManualClock();
  const controller = new AbortController();
  const api = withRetry(always('server'), {}, { clock });
  const call = api.getSnapshotBlock(GET, { signal: controller.signal });
  const reason = new Error('the client hung up');
  const gone = t.rejects(call, reason);
  await settle();
  controller.abort(reason);
  await gone;
  await clock.advance(5000);
  t.equal(clock.waitingCount, 0, 'no timer is left');
});

t.test('errors that are not of the service come out as they are', async (t) => {
  const fake = new FakeSnapshot({ listed: [0] });
  const bug = new TypeError('a bug');
  fake.hook = () => {
    throw bug;
  };
  await t.rejects(withRetry(fake).getSnapshotBlock(GET), bug);
});

t.test('one line when calls begin to wait, one when that is over, throttling apart', async (t) => {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const fake = new FakeSnapshot({ listed: [0] });
  let tries = 0;
  fake.hook = () => {
    tries += 1;
    if (tries <= 300) throw fail(tries % 3 === 0 ? 'throttled-account' : 'server');
  };
  const api = withRetry(fake, {}, { clock, logger: log });
  await clock.run(Promise.all(Array.from({ length: 100 }, () => api.getSnapshotBlock(GET))));
  await clock.advance(5000);
  t.equal(log.at('warn').length, 2);
  t.match(log.at('warn')[0], {
    fields: { kind: 'server', operation: undefined, error: 'Cannot do it: server.' },
  });
  t.match(log.at('warn')[1], { fields: { kind: 'throttled-account' } });
  t.same(
    log
      .at('info')
      .map((line) => line.fields.retries)
      .sort(),
    [100, 200],
  );
  t.equal(clock.waitingCount, 0);
});

t.test('close ends the episode and closes the client', async (t) => {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const fake = failing(['server']);
  const api = withRetry(fake, {}, { clock, logger: log });
  await clock.run(api.getSnapshotBlock(GET));
  api.close();
  t.equal(clock.waitingCount, 0);
  t.equal(log.lines.length, 2);
  t.ok(fake.closed);
});

t.test('an observer is told of each try', async (t) => {
  const clock = new ManualClock();
  const seen: string[] = [];
  const observer: RetryObserver = {
    succeeded: (operation) => seen.push(`${operation} ok`),
    failed: (operation, error) => seen.push(`${operation} ${error.kind}`),
  };
  const api = withRetry(failing(['server', 'throttled-account']), {}, { clock, observer });
  await clock.run(api.getSnapshotBlock(GET));
  await clock.run(api.listSnapshotBlocks({ snapshotId: 'snap-1', resultsMax: 100 }));
  t.same(seen, [
    'GetSnapshotBlock server',
    'GetSnapshotBlock throttled-account',
    'GetSnapshotBlock ok',
    'ListSnapshotBlocks ok',
  ]);
});

/** A writer's side of the service: puts are not found until `readyMs`. */
class FakeWriter extends FakeSnapshot {
  puts = 0;
  readonly #clock: ManualClock;
  readonly #readyMs: number;

  constructor(clock: ManualClock, readyMs: number) {
    super({ listed: [] });
    this.#clock = clock;
    this.#readyMs = readyMs;
  }

  override async startSnapshot(): ReturnType<SnapshotApi['startSnapshot']> {
    const rest = { parentSnapshotId: undefined, kmsKeyArn: undefined };
    return { snapshotId: 'snap-1', status: 'pending', volumeSizeGib: 1, ...rest };
  }

  override async putSnapshotBlock(): Promise<void> {
    this.puts += 1;
    if (this.#clock.nowMs() < this.#readyMs) throw fail('not-found');
  }

  override async completeSnapshot(): ReturnType<SnapshotApi['completeSnapshot']> {
    throw fail('not-found');
  }
}

const PUT = { snapshotId: 'snap-1', blockIndex: 0, bytes: Buffer.alloc(0), checksum: '' };

t.test('[ebs: StartSnapshot] the first puts of a new snapshot may not find it yet', async (t) => {
  const clock = new ManualClock();
  const writer = new FakeWriter(clock, 100_000);
  const api = withRetry(writer, {}, { clock });
  t.equal((await errorOf(api.putSnapshotBlock(PUT))).kind, 'not-found', 'one that was not started here');
  await api.startSnapshot({ volumeSizeGib: 1, clientToken: 'a' });
  await clock.run(api.putSnapshotBlock(PUT));
  t.ok(clock.nowMs() >= 100_000 && clock.nowMs() < 120_000);
  const other = await errorOf(api.completeSnapshot({ snapshotId: 'snap-1', changedBlocksCount: 1 }));
  t.equal(other.kind, 'not-found', 'puts alone');
});

t.test('[ebs: StartSnapshot] but not for longer than the service needs', async (t) => {
  const clock = new ManualClock();
  const writer = new FakeWriter(clock, Number.POSITIVE_INFINITY);
  const api = withRetry(writer, {}, { clock });
  await api.startSnapshot({ volumeSizeGib: 1, clientToken: 'a' });
  t.equal((await errorOf(clock.run(api.putSnapshotBlock(PUT)))).kind, 'not-found');
  t.ok(clock.nowMs() <= 120_000 && clock.nowMs() > 110_000);
  await clock.advance(10_000);
  writer.puts = 0;
  await errorOf(clock.run(api.putSnapshotBlock(PUT)));
  t.equal(writer.puts, 1);
  await clock.advance(120_000);
  await api.startSnapshot({ volumeSizeGib: 1, clientToken: 'b' });
});

t.test('every operation goes through', async (t) => {
  const operations = Object.values(EbsOperation);
  t.equal(operations.length, 6);
  const api = withRetry(new FakeSnapshot({ listed: [] }));
  const ids = { firstSnapshotId: 'a', secondSnapshotId: 'b', resultsMax: 100 };
  await t.rejects(api.listChangedBlocks(ids), { message: 'not in this fake' });
});
