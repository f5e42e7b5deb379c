import t from 'tap';
import { summarizeSnapshot, type ListingProgress } from '../../src/snapshot/snapshot-listing.js';
import { FakeSnapshot } from '../fixtures/fake-snapshot.js';

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
