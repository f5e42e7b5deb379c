import fc from 'fast-check';
import t from 'tap';
import { summarizeSnapshot, type ListingProgress } from '../../src/snapshot/snapshot-listing.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';

t.test('counts all blocks, whatever the pages look like', async (t) => {
  const listed = Array.from({ length: 1500 }, (_, at) => at + (at > 700 ? 300 : 0));
  const api = new FakeSnapshot({ listed, dateMs: () => 5 });
  const cuts = [10, 0, 0, 700, 1];
  api.shorten = (blocks) => Math.min(blocks.length, cuts.shift() ?? 400);
  const progress: ListingProgress[] = [];
  const summary = await summarizeSnapshot({
    api,
    snapshotId: 'snap-1',
    onProgress: (at) => progress.push(at),
  });
  t.same(summary, {
    volumeSizeGib: 1,
    listedBlocks: 1500,
    listedBytes: 1500 * 524_288,
    earliestExpiryMs: 5 + 7 * 86_400_000,
  });
  t.same(progress[0], { listedBlockCount: 10, scannedFraction: 10 / 2048 });
  t.same(progress.at(-1), { listedBlockCount: 1500, scannedFraction: 1 });
  t.ok(
    progress.every(
      ({ scannedFraction }, at) => at === 0 || scannedFraction >= progress[at - 1]!.scannedFraction,
    ),
  );
});

t.test('a large volume is listed in several places at the same time, each block counted once', async (t) => {
  const property = fc.asyncProperty(
    fc.array(
      fc.record({ start: fc.integer({ min: 0, max: 150_000 }), length: fc.integer({ min: 1, max: 20_000 }) }),
      {
        maxLength: 4,
      },
    ),
    fc.integer({ min: 500, max: 10_000 }),
    async (runs, pageMax) => {
      const blocks = new Set<number>();
      for (const { start, length } of runs) for (let at = start; at < start + length; at += 1) blocks.add(at);
      const api = new FakeSnapshot({
        listed: [...blocks].sort((a, b) => a - b),
        volumeSizeGib: 100,
        dateMs: () => 0,
      });
      api.shorten = (page) => Math.min(page.length, pageMax);
      let running = 0;
      let runningMax = 0;
      api.hook = async () => {
        running += 1;
        runningMax = Math.max(running, runningMax);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      };
      let last = 0;
      const onProgress = ({ scannedFraction }: ListingProgress): void => {
        if (scannedFraction < last || scannedFraction > 1)
          throw new Error(`progress from ${last} to ${scannedFraction}`);
        last = scannedFraction;
      };
      const { listedBlocks } = await summarizeSnapshot({ api, snapshotId: 'snap-1', onProgress });
      if (listedBlocks !== blocks.size) throw new Error(`${listedBlocks} of ${blocks.size} blocks`);
      if (last !== 1) throw new Error(`progress ends at ${last}`);
      if (runningMax > 6) throw new Error(`${runningMax} at once`);
      if (api.lists.length > blocks.size / pageMax + 60) throw new Error(`${api.lists.length} calls`);
    },
  );
  const result = await fc.check(property, { numRuns: 15 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
});

t.test('one list call that fails ends it', async (t) => {
  const listed = Array.from({ length: 50_000 }, (_, at) => at * 4);
  const api = new FakeSnapshot({ listed, volumeSizeGib: 400 });
  api.hook = () => {
    if (api.lists.length === 5) throw fail('access-denied');
  };
  await t.rejects(summarizeSnapshot({ api, snapshotId: 'snap-1' }), { name: 'EbsError' });
  const calls = api.lists.length;
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(api.lists.length, calls);
});

t.test('an empty snapshot, and a full one', async (t) => {
  const empty = await summarizeSnapshot({ api: new FakeSnapshot({ listed: [] }), snapshotId: 'snap-1' });
  t.match(empty, { listedBlocks: 0, listedBytes: 0, earliestExpiryMs: undefined });
  const listed = Array.from({ length: 2048 }, (_, at) => at);
  const full = new FakeSnapshot({ listed });
  t.match(await summarizeSnapshot({ api: full, snapshotId: 'snap-1' }), { listedBlocks: 2048 });
  t.equal(full.lists.length, 1);
});

t.test('ends when nobody wants to know any more', async (t) => {
  const api = new FakeSnapshot({ listed: [1, 2, 3] });
  const gone = new Error('gone');
  const signal = AbortSignal.abort(gone);
  await t.rejects(summarizeSnapshot({ api, snapshotId: 'snap-1', signal }), gone);
});
