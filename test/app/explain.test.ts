// What the page says when something is stuck: each sentence from the figures of a server in that state.
import t, { type Test } from 'tap';
import type { ApiConnection } from '../../src/app/api-connection.js';
import { findingOf, type Circumstances } from '../../src/app/observing/explain.js';
import { ServerObserver } from '../../src/app/observing/server-observer.js';
import { CallFigures } from '../../src/ebs/call-figures.js';
import { CostMeter } from '../../src/ebs/cost.js';
import { EbsError, EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import type { ExportFigures, Finding, ForkFigures } from '../../src/http/status-document.js';
import { ExportTraffic } from '../../src/nbd/traffic.js';
import { Command } from '../../src/nbd/transmission-constants.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import type { DiskCache } from '../../src/snapshot/disk/disk-cache.js';
import { openSnapshotDevice } from '../../src/snapshot/snapshot-device.js';
import { Limiter } from '../../src/util/limiter.js';
import { FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock } from '../fixtures/manual-clock.js';

const SNAPSHOT = `snap-${'5'.repeat(17)}`;
const MIB = 1024 * 1024;

interface Watched {
  readonly clock: ManualClock;
  readonly traffic: ExportTraffic;
  readonly calls: CallFigures;
  readonly meter: CostMeter;
  readonly limiter: Limiter;
  readonly figures: () => ExportFigures;
  readonly finding: () => Finding;
}

/** A server with one export, as it looks a minute after its start. */
async function watch(t: Test, { diskPause }: { readonly diskPause?: string } = {}): Promise<Watched> {
  const [clock, traffic] = [new ManualClock(), new ExportTraffic()];
  const [limiter, cache] = [new Limiter(2), new BlockCache(MIB)];
  const api = new FakeSnapshot({ listed: [0] });
  const device = await openSnapshotDevice({ api, snapshotId: SNAPSHOT, cache, limiter, clock });
  t.teardown(() => device.close());
  const [calls, meter] = [new CallFigures(clock), new CostMeter({ maxUsd: 0.01 })];
  const observer = new ServerObserver(clock, '1.2.3');
  observer.observe({
    exports: () => [{ name: 'disk', device, traffic }],
    userCountOf: () => 1,
    connectionCount: () => 1,
    cache,
    disk:
      diskPause === undefined ? undefined : ({ pauseReason: diskPause, counts: {} } as unknown as DiskCache),
    connection: { figures: calls, meter, limiter } as unknown as ApiConnection,
  });
  await clock.advance(60_000);
  const figures = (): ExportFigures => observer.status().exports[0]!;
  return { clock, traffic, calls, meter, limiter, figures, finding: () => figures().finding };
}

function begin({ traffic, clock }: Watched, type: number = Command.Read): void {
  traffic.waiting.add({ type, offset: 3 * MIB, lengthBytes: MIB, startMs: clock.nowMs() });
}

function failureOf(kind: EbsErrorKind, message: string): EbsError {
  return new EbsError(message, { kind });
}

t.test('nothing is wrong', async (t) => {
  const watched = await watch(t);
  t.strictSame(watched.finding(), { level: 'ok', text: 'Serving a client: nothing waits.' });
  begin(watched);
  await watched.clock.advance(900);
  t.match(watched.finding(), {
    level: 'ok',
    text: 'Serving a client: a request is under way, none for long.',
  });
});

t.test('a call that the service does not answer', async (t) => {
  const watched = await watch(t);
  begin(watched);
  void watched.calls.run(EbsOperation.GetSnapshotBlock, SNAPSHOT, 6, () => new Promise(() => undefined));
  await watched.clock.advance(4000);
  t.strictSame(watched.finding(), {
    level: 'waiting',
    text: 'Waiting for 4.0 s: a READ of 1 MiB at 3 MiB waits for the answer to GetSnapshotBlock of block 6, under way for 4.0 s.',
  });
  await watched.clock.advance(20_000);
  t.match(watched.finding(), { level: 'stuck', text: /^Stuck for 24 s: .*under way for 24 s\.$/ });
});

t.test('throttling', async (t) => {
  const watched = await watch(t);
  begin(watched);
  const error = failureOf(EbsErrorKind.ThrottledAccount, 'Cannot read block 6: Rate exceeded.');
  watched.calls.waits(error);
  watched.calls.waits(error);
  await watched.clock.advance(3000);
  t.strictSame(watched.finding(), {
    level: 'waiting',
    text: 'Waiting for 3.0 s: a READ of 1 MiB at 3 MiB waits for the service, which throttles (2 calls wait, 2 retries in 3.0 s, throttled-account: Cannot read block 6: Rate exceeded).',
  });
});

t.test('retries, and no network', async (t) => {
  const watched = await watch(t);
  begin(watched);
  const server = failureOf(EbsErrorKind.Server, 'Cannot read block 6: the service answers 500.');
  watched.calls.waits(server);
  await watched.clock.advance(2000);
  t.match(
    watched.finding().text,
    /waits for a call that is tried again \(1 call waits, 1 retry in 2\.0 s, server: Cannot/,
  );
  watched.calls.waited(server);
  watched.calls.waits(
    failureOf(EbsErrorKind.Dns, 'Cannot read block 6: the name ebs.eu-west-1 is not known.'),
  );
  await watched.clock.advance(15_000);
  t.match(watched.finding(), {
    level: 'stuck',
    text: /^Stuck for 17 s: .*dns: .*the name ebs\.eu-west-1 is not known\)\.$/,
  });
});

t.test('a place among the calls under way', async (t) => {
  const watched = await watch(t);
  begin(watched);
  for (let index = 0; index < 5; index += 1) void watched.limiter.run(() => new Promise(() => undefined));
  await watched.clock.advance(2000);
  t.match(watched.finding().text, /waits for a place: 2 calls are in flight, and 3 wait\.$/);
});

t.test('refused credentials', async (t) => {
  const watched = await watch(t);
  const reason = 'Cannot read block 6: the credentials have expired. Renew them.';
  const failure = { type: Command.Read, offset: 0, lengthBytes: 512, reason };
  watched.traffic.lastFailure = { ...failure, atMs: watched.clock.nowMs() };
  await watched.clock.advance(5000);
  t.strictSame(watched.finding(), { level: 'waiting', text: `A READ failed 5.0 s ago: ${reason}` });
  await watched.clock.advance(60_000);
  t.equal(watched.finding().level, 'ok', 'long ago');
});

t.test('the bound on the cost', async (t) => {
  const watched = await watch(t);
  const put = { operation: EbsOperation.PutSnapshotBlock } as const;
  for (let index = 0; index < 10_000 && !watched.meter.hasRefused; index += 1) {
    await watched.meter.run(put, () => Promise.resolve()).catch(() => undefined);
  }
  t.match(watched.finding(), {
    level: 'stuck',
    text: /^Serves only what is cached: .*\$0\.01.* of --max-cost\.$/,
  });
});

t.test('a disk cache that takes nothing is named where nothing else explains a wait', async (t) => {
  const watched = await watch(t, { diskPause: 'the disk is full' });
  begin(watched);
  await watched.clock.advance(2000);
  t.match(watched.finding().text, /waits for the device; the disk is full\.$/);
});

t.test('forks', async (t) => {
  const watched = await watch(t);
  const status: ForkFigures = {
    ...{ state: 'dirty', baseSnapshotId: SNAPSHOT, stagedBytes: MIB, putBlocks: 1, pendingSnapshotId: null },
    ...{ lastCommitSnapshotId: null, lastFlushAt: null, commit: null, failure: null },
  };
  const of = (fork: Partial<ForkFigures>): Finding =>
    findingOf({
      figures: { ...watched.figures(), kind: 'fork', fork: { ...status, ...fork } },
      snapshotId: SNAPSHOT,
      calls: watched.calls,
      waitingForPlace: 0,
      inFlightMax: 2,
      costBoundUsd: undefined,
      diskPause: undefined,
      nowMs: watched.clock.nowMs(),
    } satisfies Circumstances);
  const put = { step: 'put', putBlocks: 3, dueBlocks: 9 };
  t.strictSame(of({ commit: put }), { level: 'ok', text: 'Committing: 3 of about 9 blocks are put.' });
  t.match(of({ commit: { ...put, step: 'complete' } }).text, /the service completes the snapshot\.$/);
  t.match(of({ commit: { ...put, step: 'readable' } }).text, /the snapshot is not readable yet\.$/);
  t.match(of({ state: 'committing', pendingSnapshotId: SNAPSHOT }), {
    level: 'waiting',
    text: `The commit of ${SNAPSHOT} broke off, and nothing is lost: it goes on where it was with "snapnbd commit disk".`,
  });
  t.match(of({ failure: 'Cannot write the journal: the disk is damaged' }), {
    level: 'stuck',
    text: 'Takes nothing more: Cannot write the journal: the disk is damaged.',
  });
  watched.calls.waits(failureOf(EbsErrorKind.ConcurrentLimit, 'Cannot complete: too many snapshots'));
  t.match(of({ commit: put }), {
    level: 'waiting',
    text: /^Committing: 3 of about 9 blocks are put, and waits for the service, which throttles \(1 call waits, /,
  });

  const full = 'Cannot write 1 MiB: no space is left on the disk of the state folder.';
  const failed = { type: Command.Write, offset: 0, lengthBytes: MIB, reason: full };
  watched.traffic.lastFailure = { ...failed, atMs: watched.clock.nowMs() };
  await watched.clock.advance(1000);
  t.strictSame(of({}), { level: 'waiting', text: `A WRITE failed 1.0 s ago: ${full}` });
  watched.traffic.lastFailure = undefined;
  watched.calls.waited(failureOf(EbsErrorKind.ConcurrentLimit, ''));
  begin(watched, Command.Flush);
  await watched.clock.advance(2000);
  t.match(of({}).text, /a FLUSH of 1 MiB at 3 MiB waits for the disk of the state folder\.$/);
});
