import t from 'tap';
import type { BlockPage, ListedBlock } from '../../src/ebs/snapshot-api.js';
import { PageLister, snapshotBlocksOf } from '../../src/snapshot/page-lister.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';

/** Answers with these pages, one a call. */
function scripted(pages: (Partial<BlockPage> & { readonly blocks: readonly ListedBlock[] })[]): PageLister {
  const api = new FakeSnapshot({ listed: [] });
  api.listSnapshotBlocks = () => {
    const page = pages.shift();
    if (page === undefined) throw new Error('no page is left');
    return Promise.resolve({ expiryMs: 1, volumeSizeGib: 1, nextToken: undefined, ...page });
  };
  return new PageLister(snapshotBlocksOf(api, 'snap-1'));
}

function blocksAt(...indexes: number[]): ListedBlock[] {
  return indexes.map((blockIndex) => ({ blockIndex, blockToken: 't' }));
}

t.test('[ebs: ListSnapshotBlocks] what a page proves', async (t) => {
  const middle = await scripted([{ blocks: blocksAt(5, 9), nextToken: 'n' }]).list(3, 100, {});
  t.match(middle, { startIndex: 3, endIndex: 10 }, 'up to its last block');
  const last = await scripted([{ blocks: blocksAt(5, 9) }]).list(3, 100, {});
  t.match(last, { startIndex: 3, endIndex: 2048 }, 'up to the end of the volume');
  const nothing = await scripted([{ blocks: [] }]).list(2000, 100, {});
  t.match(nothing, { startIndex: 2000, endIndex: 2048, blocks: [] });
});

t.test('[ebs: ListSnapshotBlocks] empty pages with a NextToken are passed over', async (t) => {
  const empty = { blocks: [], nextToken: 'n' };
  const range = await scripted([empty, empty, { blocks: blocksAt(700), nextToken: 'n' }]).list(3, 100, {});
  t.match(range, { startIndex: 3, endIndex: 701 });
  const endless = scripted(Array.from({ length: 1001 }, () => empty));
  await t.rejects(endless.list(0, 100, {}), { message: /1000 empty pages/ });
});

t.test('[ebs: ListSnapshotBlocks] a page token that is too old: begin again', async (t) => {
  const fake = new FakeSnapshot({ listed: [50] });
  let cut = 0;
  fake.shorten = (blocks) => (cut++ < 2 ? 0 : blocks.length);
  let calls = 0;
  fake.hook = () => {
    calls += 1;
    if (calls === 2) fake.pageGeneration += 1;
  };
  const range = await new PageLister(snapshotBlocksOf(fake, 'snap-1')).list(3, 100, {});
  t.match(range.blocks[0], { blockIndex: 50 });
  t.same(
    fake.lists.map(({ pageToken, startingBlockIndex }) => pageToken ?? startingBlockIndex),
    [3, '0/50', 3, '1/50'],
  );
  fake.shorten = () => 0;
  fake.hook = () => void (fake.pageGeneration += 1);
  await t.rejects(new PageLister(snapshotBlocksOf(fake, 'snap-1')).list(3, 100, {}), {
    message: /invalid-page-token/,
  });
  fake.hook = () => {
    throw fail('invalid-page-token');
  };
  await t.rejects(
    new PageLister(snapshotBlocksOf(fake, 'snap-1')).list(3, 100, {}),
    { message: /invalid-page-token/ },
    'of no page',
  );
});

t.test('a service that breaks its contract is an error, and never wrong data', async (t) => {
  const next = { nextToken: 'n' };
  const faults: [Parameters<typeof scripted>[0][number], RegExp][] = [
    [{ blocks: blocksAt(5, 5), ...next }, /block 5 was listed where one after 5 was due/],
    [{ blocks: blocksAt(9, 5), ...next }, /block 5 was listed where one after 9 was due/],
    [{ blocks: blocksAt(2), ...next }, /block 2 was listed where one after 2 was due/],
    [{ blocks: blocksAt(2048), ...next }, /block 2048 was listed in a volume of 2048 blocks/],
  ];
  for (const [page, message] of faults) {
    await t.rejects(scripted([page]).list(3, 100, {}), { name: 'EbsError', message });
  }
  const lister = scripted([{ blocks: blocksAt(5) }, { blocks: blocksAt(5), volumeSizeGib: 2 }]);
  await lister.list(0, 100, {});
  t.equal(lister.volumeSizeGib, 1);
  await t.rejects(lister.list(0, 100, {}), { message: /the volume had 1 GiB, and now has 2 GiB/ });
});

t.test('a listing that fails among empty pages goes on where it broke off', async (t) => {
  const fake = new FakeSnapshot({ listed: [50] });
  fake.shorten = () => (fake.lists.length < 3 ? 0 : 1);
  fake.hook = () => {
    if (fake.lists.length === 2) throw fail('server');
  };
  const lister = new PageLister(snapshotBlocksOf(fake, 'snap-1'));
  await t.rejects(lister.list(3, 100, {}), { message: /server/ });
  t.match(await lister.list(3, 100, {}), { startIndex: 3, blocks: [{ blockIndex: 50 }] });
  t.same(
    fake.lists.map(({ pageToken, startingBlockIndex }) => pageToken ?? startingBlockIndex),
    [3, '0/50', '0/50'],
  );
});
