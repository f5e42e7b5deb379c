import t, { type Test } from 'tap';
import { ExportRegistry } from '../../src/app/export-registry.js';
import { isAllowed, isAllowedById, parseAllowRule } from '../../src/app/on-demand/allow-rules.js';
import { OnDemandExports, type OnDemandOptions } from '../../src/app/on-demand/on-demand-exports.js';
import { SnapshotCatalog } from '../../src/app/on-demand/snapshot-catalog.js';
import type { SnapshotSource } from '../../src/app/export-spec.js';
import { EbsError, EbsErrorKind } from '../../src/ebs/errors.js';
import type { Ec2Api, SnapshotDescription } from '../../src/ec2/ec2-api.js';
import { ExportRefusalKind, ExportRefusedError } from '../../src/nbd/export-table.js';
import { UsageError } from '../../src/util/errors.js';
import { ManualClock, settle } from '../fixtures/manual-clock.js';
import { MemoryLog } from '../fixtures/memory-log.js';

const IDS = ['a', 'b', 'c', 'd'].map((digit) => `snap-${digit.repeat(17)}`);
const [A, B, C, D] = IDS as [string, string, string, string];

function described(snapshotId: string, more: Partial<SnapshotDescription> = {}): SnapshotDescription {
  return {
    snapshotId,
    volumeId: 'vol-1',
    state: 'completed',
    volumeSizeGib: 8,
    startTimeMs: Date.UTC(2026, 0, IDS.indexOf(snapshotId) + 1),
    description: '',
    ownerId: '123456789012',
    ownerAlias: undefined,
    progressPercent: 100,
    isEncrypted: false,
    kmsKeyId: undefined,
    storageTier: 'standard',
    tags: {},
    ...more,
  };
}

interface Made {
  readonly exports: OnDemandExports;
  readonly registry: ExportRegistry;
  readonly clock: ManualClock;
  readonly log: MemoryLog;
  /** Ids that were opened, in that order, and those that were closed. */
  readonly opened: string[];
  readonly closed: string[];
  /** What EC2 was asked. */
  readonly asked: object[];
}

function make(
  t: Test,
  rules: readonly string[] = ['*'],
  options: Partial<OnDemandOptions> & { describe?: Ec2Api['describeSnapshots'] } = {},
): Made {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const [opened, closed, asked]: [string[], string[], object[]] = [[], [], []];
  const api = {
    region: 'us-east-1',
    describeSnapshots: (request: object) => {
      asked.push(request);
      const answer = { snapshots: IDS.slice(0, 3).map((id) => described(id)), nextToken: undefined };
      return options.describe?.(request) ?? Promise.resolve(answer);
    },
    close: () => undefined,
  } as unknown as Ec2Api;
  const allow = rules.map(parseAllowRule);
  const catalog = new SnapshotCatalog({
    open: () => Promise.resolve(api),
    rules: allow,
    logger: log,
    clock,
  });
  const exports = new OnDemandExports({
    open: (name) => {
      opened.push(name);
      const device = {
        sizeBytes: 512,
        read: () => [{ zeroBytes: 512 }],
        close: () => void closed.push(name),
      };
      return Promise.resolve({ name, device });
    },
    catalog,
    rules: allow,
    openMax: 2,
    idleMs: 1000,
    logger: log,
    clock,
    ...options,
  });
  const registry = new ExportRegistry([], exports);
  t.teardown(() => registry.close());
  return { exports, registry, clock, log, opened, closed, asked };
}

async function refusalOf(promise: Promise<unknown>): Promise<ExportRefusedError> {
  const error: unknown = await promise.then(() => undefined).catch((thrown: unknown) => thrown);
  if (error instanceof ExportRefusedError) return error;
  throw new Error(`it was not refused: ${String(error)}`);
}

t.test('opened once for all who ask at once, and closed when nobody has used it for a while', async (t) => {
  const { registry, clock, opened, closed } = make(t);
  const [one, two] = await Promise.all([registry.acquire(A), registry.acquire(A)]);
  t.strictSame(opened, [A]);
  t.equal(one.device, two.device);
  one.release();
  await clock.advance(5000);
  t.strictSame(closed, [], 'somebody still uses it');
  two.release(true);
  await clock.advance(999);
  const again = await registry.acquire(A);
  await clock.advance(5000);
  t.strictSame([opened, closed], [[A], []]);
  again.release();
  await clock.advance(1000);
  t.strictSame(closed, [A]);
});

t.test('no more are open than may be: the one unused for longest goes, those in use stay', async (t) => {
  const { registry, opened, closed, exports } = make(t);
  const a = await registry.acquire(A);
  (await registry.acquire(B)).release();
  const c = await registry.acquire(C);
  await settle();
  t.strictSame([opened, closed], [[A, B, C], [B]]);
  const refusal = await refusalOf(registry.acquire(D));
  t.match(refusal, { kind: ExportRefusalKind.Unavailable, message: /--any-max/ });
  t.equal(exports.openCount, 2);
  t.strictSame(
    registry.allExports.map(({ name }) => [name, registry.userCountOf(name)]),
    [
      [A, 1],
      [C, 1],
    ],
    'the page shows those that are open',
  );
  a.release();
  t.equal(registry.userCountOf(A), 0);
  c.release();
  (await registry.acquire(D)).release();
  await settle();
  t.strictSame(closed, [B, A]);
});

t.test('names that are no ids never reach AWS, nor do those that no rule can allow', async (t) => {
  const { registry, opened, asked } = make(t, ['snap-a*', 'snap-b*,owner:self']);
  const hostile = [
    '../../etc/passwd',
    'snap-',
    `${A}0`,
    `${A}\n`,
    A.toUpperCase(),
    'snap-é',
    'x'.repeat(4096),
    '',
  ];
  for (const name of hostile) {
    t.equal((await refusalOf(registry.acquire(name))).kind, ExportRefusalKind.Unknown, name.slice(0, 30));
  }
  t.equal((await refusalOf(registry.acquire(C))).kind, ExportRefusalKind.Policy);
  t.strictSame([opened, asked], [[], []]);
  (await registry.acquire(A)).release();
  t.strictSame(asked, [], 'the id is enough');
});

t.test('compared with others by its name: an export of its own, where all of them are allowed', async (t) => {
  const sources: SnapshotSource[] = [];
  const { registry, clock, opened, closed } = make(t, ['snap-a*', 'snap-b*'], {
    open: (name, source) => {
      opened.push(name);
      sources.push(source);
      const device = { sizeBytes: 512, read: () => [], close: () => void closed.push(name) };
      return Promise.resolve({ name, device });
    },
  });
  const compared = `${A},since=${B}`;
  const leases = [
    await registry.acquire(compared),
    await registry.acquire(compared),
    await registry.acquire(A),
  ];
  t.strictSame(opened, [compared, A]);
  t.strictSame(sources, [
    { kind: 'snapshot', snapshotId: A, since: [B] },
    { kind: 'snapshot', snapshotId: A },
  ]);
  for (const lease of leases) lease.release();
  await clock.advance(1000);
  t.strictSame(closed, [compared, A]);
  for (const name of [`${A},since=${C}`, `${C},since=${A}`, `${A},since=${B},since=${C}`])
    t.equal((await refusalOf(registry.acquire(name))).kind, ExportRefusalKind.Policy, name);
  const others = Array.from({ length: 9 }, (_, at) => `,since=snap-b${String(at).repeat(16)}`);
  for (const more of [
    ',',
    ',since=',
    `,since=${A}`,
    `,since=${B},since=${B}`,
    `,before=${B}`,
    others.join(''),
  ]) {
    const refusal = await refusalOf(registry.acquire(A + more));
    t.match(refusal, { kind: ExportRefusalKind.Unknown, message: /,since=snap-ID with other/ }, more);
  }
  t.equal(opened.length, 2);
});

t.test(
  'a failure is told to those who asked, without what it says of the server, and not twice',
  async (t) => {
    let failing = true;
    let tries = 0;
    const device = { sizeBytes: 512, read: () => [] };
    const { registry, clock, log } = make(t, ['*'], {
      open: (name) => {
        tries += 1;
        const secret = new EbsError('User arn:aws:iam::1:user/x may not', {
          kind: EbsErrorKind.AccessDenied,
        });
        return failing ? Promise.reject(secret) : Promise.resolve({ name, device });
      },
    });
    const refusals = await Promise.all([refusalOf(registry.acquire(A)), refusalOf(registry.acquire(A))]);
    t.strictSame(
      refusals.map(({ message }) => message),
      Array(2).fill('the server has no right to read this snapshot'),
    );
    await refusalOf(registry.acquire(A));
    t.equal(tries, 1);
    t.match(log.at('warn'), [{ fields: { snapshotId: A, error: /arn:aws/ } }]);
    failing = false;
    await clock.advance(2000);
    (await registry.acquire(A)).release();
    t.equal(tries, 2);
  },
);

t.test('a client that leaves while it waits: the opening is given up, unless others wait', async (t) => {
  const signals: AbortSignal[] = [];
  let finish: () => void = () => undefined;
  const { registry } = make(t, ['*'], {
    open: (name, _source, signal) => {
      signals.push(signal);
      const device = { sizeBytes: 512, read: () => [] };
      return new Promise((resolve, reject) => {
        finish = () => resolve({ name, device });
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    },
  });
  const [first, second] = [new AbortController(), new AbortController()];
  const one = registry.acquire(A, { signal: first.signal }).catch((error: unknown) => error);
  const two = registry.acquire(A, { signal: second.signal });
  await settle();
  first.abort(new Error('gone'));
  await settle();
  t.equal(signals[0]?.aborted, false);
  finish();
  (await two).release();
  t.match(await one, { message: 'gone' });
  const alone = registry.acquire(B, { signal: second.signal }).catch((error: unknown) => error);
  await settle();
  second.abort(new Error('gone too'));
  await alone;
  t.equal(signals[1]?.aborted, true);
  t.equal(registry.leaseCount, 0);
});

t.test(
  'LIST: the newest first, cached for some seconds; what EC2 does not give is told in the log once',
  async (t) => {
    let failing = false;
    const { registry, clock, log, asked } = make(t, ['owner:self'], {
      describe: () =>
        failing
          ? Promise.reject(new EbsError('Allow ec2:DescribeSnapshots', { kind: EbsErrorKind.AccessDenied }))
          : Promise.resolve({
              snapshots: [
                described(A, { description: 'before\u001b[31m\nthe upgrade', tags: { Name: 'web' } }),
                described(B, { storageTier: 'archive' }),
                described(C),
              ],
              nextToken: undefined,
            }),
    });
    const listed = await Promise.all([registry.list(), registry.list()]);
    t.strictSame(listed[0], [
      { name: C, description: 'vol-1, 8 GiB, 2026-01-03T00:00:00Z' },
      { name: A, description: 'vol-1, 8 GiB, 2026-01-01T00:00:00Z, Name=web, before [31m the upgrade' },
    ]);
    t.equal(asked.length, 1);
    failing = true;
    await clock.advance(10_000);
    t.strictSame(await registry.list(), []);
    await clock.advance(10_000);
    t.strictSame(await registry.list(), []);
    t.equal(asked.length, 3);
    t.match(log.at('warn'), [{ fields: { error: /ec2:DescribeSnapshots/ } }]);
    t.equal(log.at('warn').length, 1);
    t.match(await refusalOf(registry.acquire(A)), { kind: ExportRefusalKind.Unavailable });
  },
);

t.test('rules: ids, tags and owners; any of them, and everything in one', async (t) => {
  const own = { description: described(A, { tags: { Name: 'prod-1', env: '' } }), isOwn: true };
  const fits = (...texts: string[]): boolean => isAllowed(texts.map(parseAllowRule), own);
  for (const text of [
    '*',
    'snap-a*',
    'snap-????????a*',
    'tag:Name=prod-*',
    'tag:env=',
    'owner:self',
    'owner:123456789012',
  ])
    t.ok(fits(text), text);
  for (const text of [
    'snap-b*',
    'tag:Name=prod',
    'tag:name=prod-*',
    'tag:constructor=*',
    'owner:210987654321',
  ])
    t.notOk(fits(text), text);
  t.ok(fits('snap-b*', 'owner:self,tag:Name=prod-?'));
  t.notOk(fits('owner:self,tag:Name=test-*'));
  t.notOk(isAllowed([parseAllowRule('owner:self')], { ...own, isOwn: false }));
  t.ok(isAllowedById([parseAllowRule('snap-a*,snap-*a')], A));
  t.notOk(isAllowedById([parseAllowRule('snap-a*,owner:self')], A));
  for (const text of ['', 'prod', 'tag:', 'tag:x', 'owner:me', 'owner:1', 'snap-xyz', 'snap-a*,'])
    t.throws(() => parseAllowRule(text), UsageError, text);
});
