import t from 'tap';
import { CostMeter, usageFields, withCost } from '../../src/ebs/cost.js';
import { EbsErrorKind, type EbsError } from '../../src/ebs/errors.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';

const ID = 'snap-0123456789abcdef0';
const LIST = { snapshotId: ID, resultsMax: 1000 };

async function blocksOf(
  fake: FakeSnapshot,
): Promise<{ snapshotId: string; blockIndex: number; blockToken: string }[]> {
  const { blocks } = await fake.listSnapshotBlocks(LIST);
  return blocks.map((block) => ({ snapshotId: ID, ...block }));
}

function errorOf(promise: Promise<unknown>): Promise<EbsError> {
  return promise.then(
    () => Promise.reject(new Error('it should have failed')),
    (error: unknown) => error as EbsError,
  );
}

t.test('[ebs: Quotas and prices] every try that may have reached the service counts', async (t) => {
  const fake = new FakeSnapshot({ listed: [1, 2, 3] });
  const [block] = await blocksOf(fake);
  const meter = new CostMeter();
  const api = withCost(fake, meter);
  await api.listSnapshotBlocks(LIST);
  await api.getSnapshotBlock(block!);
  for (const kind of [EbsErrorKind.ThrottledAccount, EbsErrorKind.Server, EbsErrorKind.Timeout] as const) {
    fake.hook = () => {
      throw fail(kind);
    };
    t.equal((await errorOf(api.getSnapshotBlock(block!))).kind, kind);
  }
  fake.hook = () => {
    throw fail(EbsErrorKind.Dns);
  };
  t.equal((await errorOf(api.getSnapshotBlock(block!))).kind, 'dns', 'nothing was sent');
  const { calls, bytesRead, bytesWritten, usd } = meter.usage;
  t.match(calls, { ListSnapshotBlocks: 1, GetSnapshotBlock: 4, PutSnapshotBlock: 0 });
  t.equal(bytesRead, 524_288);
  t.equal(bytesWritten, 0);
  t.equal(usd.toFixed(9), ((0.0006 + 4 * 0.003) / 1000).toFixed(9));
  t.strictSame(usageFields(meter.usage), {
    ListSnapshotBlocks: 1,
    GetSnapshotBlock: 4,
    read: '512 KiB',
    usd: '$0.000013',
  });
});

t.test('what would cost too much is refused before it is sent', async (t) => {
  const fake = new FakeSnapshot({ listed: Array.from({ length: 20 }, (_, index) => index) });
  const blocks = await blocksOf(fake);
  const told: number[] = [];
  const meter = new CostMeter({ prices: { get: 100 }, maxUsd: 0.5, onRefusal: (usd) => told.push(usd) });
  const api = withCost(fake, meter);
  const outcomes = await Promise.allSettled(blocks.map((block) => api.getSnapshotBlock(block)));
  t.equal(
    outcomes.filter(({ status }) => status === 'fulfilled').length,
    5,
    'also of calls that begin together',
  );
  t.equal(fake.gets.length, 5);
  t.strictSame(told, [0.5], 'said once');
  const error = await errorOf(api.getSnapshotBlock(blocks[7]!));
  t.match(error, { kind: 'cost-limit', retryable: false });
  t.match(
    error.message,
    /^Cannot read block 7 of snap-0123456789abcdef0: it would cost more than the \$0\.5 /,
  );
  t.match(error.message, /Raise --max-cost/);
  t.equal(meter.usage.usd, 0.5);
});

t.test('a call that fails before it is sent gives its share back', async (t) => {
  const fake = new FakeSnapshot({ listed: [1, 2] });
  const [first, second] = await blocksOf(fake);
  const api = withCost(fake, new CostMeter({ prices: { get: 1000 }, maxUsd: 1 }));
  fake.hook = () => {
    throw fail(EbsErrorKind.Tls);
  };
  await errorOf(api.getSnapshotBlock(first!));
  fake.hook = () => undefined;
  await api.getSnapshotBlock(second!);
  t.equal((await errorOf(api.getSnapshotBlock(first!))).kind, 'cost-limit');
});
