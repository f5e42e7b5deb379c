import {
  CompleteSnapshotCommand,
  ListSnapshotBlocksCommand,
  StartSnapshotCommand,
} from '@aws-sdk/client-ebs';
import t from 'tap';
import { createSynth } from '../../../src/emulator/synth/create-synth.js';
import { blockOf, emulatorFor, linearSha256, sha256 } from '../../fixtures/ebs-emulator.js';
import {
  complete,
  failure,
  getBlock,
  listAll,
  makeSnapshot,
  putBlock,
  readAll,
  startSnapshot,
} from '../../fixtures/ebs-calls.js';
import { seededBytes } from '../../fixtures/seeded.js';
import { synthBytes } from '../../fixtures/synth-rule.js';

const block = (name: string): Buffer => seededBytes(name, 524_288);

t.test('[ebs: StartSnapshot] answers with everything there is', async (t) => {
  const { client } = await emulatorFor(t);
  const answer = await client.send(
    new StartSnapshotCommand({
      VolumeSize: 3,
      Description: 'a disk',
      Tags: [{ Key: 'Name', Value: 'x' }],
      Timeout: 10,
    }),
  );
  t.equal(answer.$metadata.httpStatusCode, 201);
  t.match(answer.SnapshotId, /^snap-[0-9a-f]{17}$/);
  t.match(answer, {
    Status: 'pending',
    VolumeSize: 3,
    BlockSize: 524_288,
    Description: 'a disk',
    Tags: [{ Key: 'Name', Value: 'x' }],
    OwnerId: '123456789012',
  });
  t.equal(answer.ParentSnapshotId, undefined);
  t.equal(answer.KmsKeyArn, undefined);
  t.ok(answer.StartTime instanceof Date);
});

t.test('[ebs: PutSnapshotBlock] [ebs: GetSnapshotBlock] what was put is what is got', async (t) => {
  const { client } = await emulatorFor(t);
  const blocks = new Map([
    [0, block('a')],
    [7, block('b')],
    [2047, block('c')],
    [3, blockOf(0)],
  ]);
  const snapshotId = await makeSnapshot(client, blocks);
  const read = await readAll(client, snapshotId);
  t.strictSame([...read.keys()], [0, 3, 7, 2047], 'listed in order, explicit zeros too');
  for (const [index, bytes] of blocks) t.ok(read.get(index)?.equals(bytes), `block ${index}`);
});

t.test('[ebs: PutSnapshotBlock] a re-put overwrites and counts once', async (t) => {
  const { client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  await putBlock(client, snapshotId, 5, block('old'));
  await putBlock(client, snapshotId, 5, block('middle'));
  await putBlock(client, snapshotId, 6, block('other'));
  await putBlock(client, snapshotId, 5, block('new'));
  t.equal(await complete(client, snapshotId, 2, linearSha256([block('new'), block('other')])), 'completed');
  t.ok((await readAll(client, snapshotId)).get(5)?.equals(block('new')));
});

t.test('[ebs: CompleteSnapshot] 202 pending, then completed, and again', async (t) => {
  const { client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  await putBlock(client, snapshotId, 1, block('a'));
  const answer = await client.send(
    new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 1 }),
  );
  t.equal(answer.$metadata.httpStatusCode, 202);
  t.equal(answer.Status, 'pending');
  t.equal(await complete(client, snapshotId, 1), 'completed');
  t.equal(await complete(client, snapshotId, 99), 'completed', 'what a repetition says is not looked at');
});

t.test('[ebs: CompleteSnapshot] a wrong count or checksum gets 202, and ends in error', async (t) => {
  const { client } = await emulatorFor(t);
  const [first, second] = [block('a'), block('b')];
  const wrong: Record<string, [number, string | undefined]> = {
    'too few': [1, undefined],
    'too many': [3, undefined],
    'checksum of base64 texts': [2, sha256(Buffer.from(sha256(first) + sha256(second)))],
    'wrong order': [2, linearSha256([second, first])],
  };
  for (const [what, [count, checksum]] of Object.entries(wrong)) {
    const snapshotId = await startSnapshot(client);
    await putBlock(client, snapshotId, 9, second);
    await putBlock(client, snapshotId, 2, first);
    t.equal(await complete(client, snapshotId, count, checksum), 'error', what);
    const gone = { name: 'ResourceNotFoundException', status: 404, reason: 'SNAPSHOT_NOT_FOUND' };
    t.match(await failure(listAll(client, snapshotId)), gone, 'not to be listed');
    t.match(await failure(putBlock(client, snapshotId, 1, first)), gone, 'nor written');
  }
});

t.test('[ebs: CompleteSnapshot] no blocks: SHA-256 of the empty string', async (t) => {
  const { client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  t.equal(await complete(client, snapshotId, 0, sha256(Buffer.alloc(0))), 'completed');
  const page = await client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults: 100 }));
  t.strictSame(page.Blocks, []);
  t.equal(page.VolumeSize, 1);
  t.equal(page.NextToken, undefined);
});

t.test('[ebs: PutSnapshotBlock] refuses what is wrong', async (t) => {
  const { client } = await emulatorFor(t);
  const snapshotId = await startSnapshot(client);
  t.match(await failure(putBlock(client, snapshotId, 2048, block('a'))), {
    name: 'ValidationException',
    reason: 'INVALID_BLOCK',
  });
  t.match(await failure(putBlock(client, 'snap-00000000000000000', 0, block('a'))), {
    reason: 'SNAPSHOT_NOT_FOUND',
  });
  t.equal(await complete(client, snapshotId, 0), 'completed');
  t.match(await failure(putBlock(client, snapshotId, 0, block('a'))), {
    status: 400,
    reason: 'INVALID_SNAPSHOT_ID',
    message: 'Snapshot is already completed',
  });
});

t.test('[ebs: Reading / BlockToken] bound to snapshot and index', async (t) => {
  const { client } = await emulatorFor(t);
  const blocks = new Map([
    [0, block('a')],
    [1, block('b')],
  ]);
  const one = await makeSnapshot(client, blocks);
  const other = await makeSnapshot(client, blocks);
  const { tokens } = await listAll(client, one);
  t.equal(tokens.get(0)?.length, 96);
  const wrong = { name: 'ValidationException', status: 400, reason: 'INVALID_BLOCK_TOKEN' };
  t.match(await failure(getBlock(client, one, 0, tokens.get(1))), wrong);
  t.match(await failure(getBlock(client, other, 0, tokens.get(0))), wrong);
  const first = tokens.get(0)!;
  const changed = first.slice(0, 40) + (first[40] === 'A' ? 'B' : 'A') + first.slice(41);
  t.match(await failure(getBlock(client, one, 0, changed)), wrong);
  t.match(await failure(getBlock(client, one, 0, 'AAAA')), wrong);
});

t.test('[ebs: Reading / pending, errored and unknown] all are 404', async (t) => {
  const { client } = await emulatorFor(t);
  const pending = await startSnapshot(client);
  await putBlock(client, pending, 0, block('a'));
  for (const snapshotId of [pending, 'snap-0123456789abcdef0', 'snap-0']) {
    t.match(await failure(listAll(client, snapshotId)), { status: 404, reason: 'SNAPSHOT_NOT_FOUND' });
    t.match(await failure(getBlock(client, snapshotId, 0, 'AAAA')), { reason: 'SNAPSHOT_NOT_FOUND' });
  }
});

t.test('64 TiB: the first block and the last, over a parent that is full', async (t) => {
  const { client, dir } = await emulatorFor(t);
  const parent = await createSynth({ dir, volumeSizeGib: 65_536, seed: 3 });
  const last = 134_217_727;
  const blocks = new Map([
    [0, block('first')],
    [last, block('last')],
  ]);
  const alone = await makeSnapshot(client, blocks, { VolumeSize: 65_536 });
  t.strictSame([...(await readAll(client, alone))], [...blocks]);
  const child = await makeSnapshot(client, blocks, { VolumeSize: 65_536, ParentSnapshotId: parent });
  const page = await client.send(
    new ListSnapshotBlocksCommand({ SnapshotId: child, MaxResults: 100, StartingBlockIndex: last - 1 }),
  );
  t.strictSame(
    page.Blocks?.map(({ BlockIndex }) => BlockIndex),
    [last - 1, last],
  );
  t.ok((await getBlock(client, child, last, page.Blocks![1]!.BlockToken)).equals(block('last')));
  const inherited = await getBlock(client, child, last - 1, page.Blocks![0]!.BlockToken);
  t.ok(inherited.subarray(-64).equals(synthBytes(3, last * 524_288 - 64, 64)));
});
