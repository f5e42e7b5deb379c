import { ListSnapshotBlocksCommand } from '@aws-sdk/client-ebs';
import t from 'tap';
import { createSynth } from '../../../src/emulator/synth/create-synth.js';
import { blockOf, emulatorFor, rawRequest } from '../../fixtures/ebs-emulator.js';
import { failure, getBlock, listAll, listChanges, makeSnapshot } from '../../fixtures/ebs-calls.js';
import { ManualClock } from '../../fixtures/manual-clock.js';

const DAY_MS = 86_400_000;

t.test('[ebs: ListSnapshotBlocks] ascending pages from any start', async (t) => {
  const { client, dir } = await emulatorFor(t);
  const snapshotId = await createSynth({ dir, volumeSizeGib: 3, fill: 0.3, seed: 5 });
  const { tokens, pages } = await listAll(client, snapshotId, 100);
  const all = [...tokens.keys()];
  t.equal(all.length, Math.floor(3 * 2048 * 0.3));
  t.strictSame(
    all,
    [...all].sort((a, b) => a - b),
  );
  t.ok(pages.slice(0, -1).every((page) => page.length === 100));
  for (const start of [0, 1, all[7]!, all[7]! + 1, 2047, 2048, 6143, 6144, 2 ** 31 - 1]) {
    const page = await client.send(
      new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults: 100, StartingBlockIndex: start }),
    );
    const expected = all.filter((index) => index >= start).slice(0, 100);
    t.strictSame(
      page.Blocks!.map((block) => block.BlockIndex),
      expected,
      `from ${start}`,
    );
    t.equal(page.VolumeSize, 3);
    t.equal(page.BlockSize, 524_288);
  }
});

t.test('[ebs: Wire format] nulls are explicit, times are seconds', async (t) => {
  const { client, url } = await emulatorFor(t);
  const snapshotId = await makeSnapshot(client, new Map([[0, blockOf(1)]]));
  const body = (await rawRequest(url, 'GET', `/snapshots/${snapshotId}/blocks?maxResults=100`)).json();
  t.strictSame(Object.keys(body), ['BlockSize', 'Blocks', 'ExpiryTime', 'NextToken', 'VolumeSize']);
  t.equal(body.NextToken, null);
  t.ok(Math.abs(Number(body.ExpiryTime) - Date.now() / 1000 - 7 * 86_400) < 86_400);
});

t.test(
  '[ebs: Reading / NextToken] wins over StartingBlockIndex, belongs to one listing, lives 60 minutes',
  async (t) => {
    const clock = new ManualClock();
    const { client, dir } = await emulatorFor(t, { clock });
    const one = await createSynth({ dir, volumeSizeGib: 1, clock });
    const other = await createSynth({ dir, volumeSizeGib: 1, clock });
    const list = (SnapshotId: string, NextToken?: string, StartingBlockIndex?: number) =>
      client.send(
        new ListSnapshotBlocksCommand({ SnapshotId, MaxResults: 100, NextToken, StartingBlockIndex }),
      );
    const { NextToken } = await list(one);
    t.equal((await list(one, NextToken, 7)).Blocks![0]!.BlockIndex, 100);
    t.equal((await list(one, NextToken)).Blocks![0]!.BlockIndex, 100, 'may be used again');
    const wrong = { status: 400, reason: 'INVALID_PAGE_TOKEN' };
    t.match(await failure(list(other, NextToken)), wrong);
    t.match(await failure(list(one, 'AAAA')), wrong);
    t.match(await failure(list(one, `A${NextToken!.slice(1)}`)), wrong);
    await clock.advance(59 * 60_000);
    t.equal((await list(one, NextToken)).Blocks!.length, 100);
    await clock.advance(60_000);
    t.match(await failure(list(one, NextToken)), wrong);
  },
);

t.test('[ebs: Reading / ExpiryTime] tokens end when the page said, not before and not later', async (t) => {
  const clock = new ManualClock();
  const { client, setFaults } = await emulatorFor(t, { clock });
  const snapshotId = await makeSnapshot(client, new Map([[0, blockOf(1)]]));
  const list = () => client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults: 100 }));
  for (const tokenTtlMs of [7 * DAY_MS, 10_000]) {
    setFaults({ tokenTtlMs });
    const page = await list();
    const leftMs = page.ExpiryTime!.getTime() - clock.dateMs();
    t.ok(leftMs <= tokenTtlMs && leftMs >= tokenTtlMs * 0.99, 'jittered, downwards');
    const token = page.Blocks![0]!.BlockToken;
    await clock.advance(leftMs - 1);
    t.equal((await getBlock(client, snapshotId, 0, token)).length, 524_288);
    await clock.advance(1);
    t.match(await failure(getBlock(client, snapshotId, 0, token)), { reason: 'INVALID_BLOCK_TOKEN' });
  }
});

t.test('short pages, and empty ones with a NextToken, can be asked for', async (t) => {
  const { client, dir, setFaults } = await emulatorFor(t, { faults: { pageSize: 7 } });
  const snapshotId = await createSynth({ dir, volumeSizeGib: 1, fill: 0.1 });
  const expected = Math.floor(2048 * 0.1);
  const short = await listAll(client, snapshotId);
  t.equal(short.tokens.size, expected);
  t.ok(short.pages.every((page) => page.length <= 7));
  setFaults({ emptyPageRate: 1 });
  const everySecond = await listAll(client, snapshotId);
  t.equal(everySecond.tokens.size, expected);
  t.equal(everySecond.pages.filter((page) => page.length === 0).length, Math.ceil(expected / 7));
  setFaults({ pageSize: null, emptyPageRate: 0.5 });
  t.equal((await listAll(client, snapshotId, 100)).tokens.size, expected);
});

t.test('[ebs: ListChangedBlocks] tokens on the sides that list the block, empty pages between', async (t) => {
  const { client, dir, setFaults } = await emulatorFor(t);
  const base = await createSynth({ dir, volumeSizeGib: 1 });
  const child = await makeSnapshot(
    client,
    new Map([
      [3, blockOf(1)],
      [2000, blockOf(0)],
    ]),
    { ParentSnapshotId: base, VolumeSize: 2 },
  );
  const grandchild = await makeSnapshot(client, new Map([[3000, blockOf(2)]]), {
    ParentSnapshotId: child,
    VolumeSize: 2,
  });
  const forward = await listChanges(client, base, grandchild);
  t.strictSame(
    forward.blocks.map((block) => block.BlockIndex),
    [3, 2000, 3000],
  );
  t.strictSame(
    forward.blocks.map((block) => block.FirstBlockToken !== undefined),
    [true, true, false],
  );
  t.ok(forward.blocks.every((block) => block.SecondBlockToken !== undefined));
  t.equal(forward.pageCount, 21, '2048 + 1 candidates, 100 a page');
  const [first] = forward.blocks;
  t.equal((await getBlock(client, grandchild, 3, first!.SecondBlockToken))[0], 1);
  t.equal((await getBlock(client, base, 3, first!.FirstBlockToken)).length, 524_288);
  t.match(await failure(getBlock(client, base, 3, first!.SecondBlockToken)), {
    reason: 'INVALID_BLOCK_TOKEN',
  });
  const back = await listChanges(client, grandchild, child);
  t.strictSame(
    back.blocks.map((block) => [block.BlockIndex, block.SecondBlockToken]),
    [[3000, undefined]],
  );
  t.strictSame((await listChanges(client, child, child)).blocks, []);
  setFaults({ pageSize: 9, emptyPageRate: 0.3 });
  t.strictSame((await listChanges(client, base, grandchild)).blocks.length, 3);
});

t.test('[ebs: ListChangedBlocks] UNRELATED_SNAPSHOTS, and what cannot be read', async (t) => {
  const { client, dir } = await emulatorFor(t);
  const [one, other] = [
    await createSynth({ dir, volumeSizeGib: 1 }),
    await createSynth({ dir, volumeSizeGib: 1 }),
  ];
  t.match(await failure(listChanges(client, one, other)), { status: 400, reason: 'UNRELATED_SNAPSHOTS' });
  t.match(await failure(listChanges(client, one, 'snap-00000000000000000')), { status: 404 });
  t.match(await failure(listChanges(client, 'snap-00000000000000000', one)), { status: 404 });
});

t.test('64 TiB, every block listed: any page costs the same', async (t) => {
  const { client, dir } = await emulatorFor(t);
  const snapshotId = await createSynth({ dir, volumeSizeGib: 65_536 });
  for (const start of [0, 65_000_000, 134_217_728 - 10]) {
    const page = await client.send(
      new ListSnapshotBlocksCommand({
        SnapshotId: snapshotId,
        MaxResults: 10_000,
        StartingBlockIndex: start,
      }),
    );
    t.equal(page.Blocks![0]!.BlockIndex, start);
    t.equal(page.Blocks!.length, Math.min(10_000, 134_217_728 - start));
    t.equal(page.NextToken === undefined, start === 134_217_728 - 10);
  }
  const sparse = await createSynth({ dir, volumeSizeGib: 65_536, fill: 0.000_001 });
  t.equal((await listAll(client, sparse)).tokens.size, 134);
});
