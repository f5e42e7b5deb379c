import {
  CompleteSnapshotCommand,
  StartSnapshotCommand,
  type StartSnapshotRequest,
} from '@aws-sdk/client-ebs';
import t from 'tap';
import { emulatorFor, rawRequest } from '../../fixtures/ebs-emulator.js';
import { complete, failure, makeSnapshot, putBlock, startSnapshot } from '../../fixtures/ebs-calls.js';
import { ManualClock } from '../../fixtures/manual-clock.js';
import { seededBytes } from '../../fixtures/seeded.js';

const KEY = 'arn:aws:kms:us-east-1:123456789012:key/abc';
const MINUTE_MS = 60_000;

t.test('[ebs: StartSnapshot] limits', async (t) => {
  const { client, url } = await emulatorFor(t);
  const start = (request: Partial<StartSnapshotRequest>) => failure(startSnapshot(client, request));
  const framework = { name: 'ValidationException', status: 400, reason: undefined };
  t.match(await start({ VolumeSize: 0 }), framework);
  t.match(await start({ VolumeSize: 65_537 }), { reason: 'INVALID_VOLUME_SIZE' });
  t.match(await start({ Timeout: 9 }), framework);
  t.match(await start({ Timeout: 4321 }), framework);
  t.match(await start({ Description: 'x'.repeat(256) }), framework);
  const tags = (count: number) => Array.from({ length: count }, (_, at) => ({ Key: `k${at}`, Value: 'v' }));
  t.match(await start({ Tags: tags(51) }), framework);
  t.match(await start({ Tags: [{ Key: 'aws:x', Value: 'v' }] }), { reason: 'INVALID_TAG' });
  t.match(await start({ Tags: [...tags(1), ...tags(1)] }), { reason: 'INVALID_TAG' });
  t.match(await start({ ParentSnapshotId: 'vol-1' }), framework);
  t.match(await start({ KmsKeyArn: 'key' }), framework);
  t.match(await startSnapshot(client, { VolumeSize: 65_536, Tags: tags(50), Timeout: 4320 }), /^snap-/);
  for (const body of [
    '',
    '[]',
    '{"VolumeSize":"1"}',
    '{"VolumeSize":1.5}',
    '{"VolumeSize":1,"Tags":{}}',
    '{',
  ]) {
    const answer = await rawRequest(url, 'POST', '/snapshots', {}, Buffer.from(body));
    t.equal(answer.status, 400, body);
    t.match(answer.headers['x-amzn-errortype'], /^SerializationException/);
  }
  const missing = await rawRequest(url, 'POST', '/snapshots', {}, Buffer.from('{}'));
  t.match(missing.json().message, /Value null at 'volumeSize'/);
  const large = await rawRequest(url, 'POST', '/snapshots', {}, Buffer.alloc(300_000, ' '));
  t.equal(large.status, 413);
});

t.test('[ebs: StartSnapshot / ParentSnapshotId] completed and readable, and not larger', async (t) => {
  const { client } = await emulatorFor(t);
  const pending = await startSnapshot(client);
  t.match(await failure(startSnapshot(client, { ParentSnapshotId: pending })), {
    status: 400,
    reason: 'INVALID_SNAPSHOT_ID',
    message: `Source snapshot (${pending}) is not complete.`,
  });
  t.match(await failure(startSnapshot(client, { ParentSnapshotId: 'snap-00000000000000000' })), {
    reason: 'SNAPSHOT_NOT_FOUND',
  });
  const parent = await makeSnapshot(client, new Map(), { VolumeSize: 2 });
  t.match(await failure(startSnapshot(client, { ParentSnapshotId: parent, VolumeSize: 1 })), {
    reason: 'INVALID_VOLUME_SIZE',
  });
  const child = await client.send(new StartSnapshotCommand({ ParentSnapshotId: parent, VolumeSize: 3 }));
  t.equal(child.ParentSnapshotId, parent);
});

t.test('[ebs: StartSnapshot / encryption parameters]', async (t) => {
  const { client } = await emulatorFor(t);
  const keyOf = async (request: Partial<StartSnapshotRequest>) =>
    (await client.send(new StartSnapshotCommand({ VolumeSize: 1, ...request }))).KmsKeyArn;
  t.equal(await keyOf({}), undefined);
  t.equal(await keyOf({ Encrypted: false }), undefined);
  t.match(await keyOf({ Encrypted: true }), /^arn:aws:kms:/);
  t.equal(await keyOf({ Encrypted: true, KmsKeyArn: KEY }), KEY);
  t.equal(await keyOf({ KmsKeyArn: KEY }), KEY);
  const invalid = { status: 400, reason: 'INVALID_PARAMETER_VALUE' };
  t.match(await failure(keyOf({ Encrypted: false, KmsKeyArn: KEY })), invalid);
  const parent = await makeSnapshot(client, new Map(), { Encrypted: true, KmsKeyArn: KEY });
  for (const encrypted of [true, false])
    t.match(await failure(keyOf({ ParentSnapshotId: parent, Encrypted: encrypted })), invalid);
  t.match(await failure(keyOf({ ParentSnapshotId: parent, KmsKeyArn: KEY })), invalid);
  t.equal(await keyOf({ ParentSnapshotId: parent }), KEY, 'a child inherits the key');
});

t.test(
  '[ebs: StartSnapshot / ClientToken] the same answer for the same request, also after a restart',
  async (t) => {
    let emulator = await emulatorFor(t);
    const request = {
      VolumeSize: 1,
      ClientToken: 'token',
      Description: 'x',
      Tags: [{ Key: 'a', Value: 'b' }],
    };
    const start = (other: Partial<StartSnapshotRequest> = {}) =>
      emulator.client.send(new StartSnapshotCommand({ ...request, ...other }));
    const first = await start();
    const again = await start();
    t.equal(again.SnapshotId, first.SnapshotId);
    t.strictSame(again.StartTime, first.StartTime);
    t.match(await failure(start({ Description: 'y' })), { name: 'ConflictException', status: 409 });
    const together = await Promise.all([1, 2, 3].map(() => start({ ClientToken: 'other' })));
    t.equal(new Set(together.map((answer) => answer.SnapshotId)).size, 1, 'also at the same time');
    await emulator.close();
    emulator = await emulatorFor(t, { dir: emulator.dir });
    t.equal((await start()).SnapshotId, first.SnapshotId);
    t.match(await failure(start({ VolumeSize: 2 })), { name: 'ConflictException' });
  },
);

t.test('[ebs: Quotas / 100 pending snapshots]', async (t) => {
  const { client } = await emulatorFor(t);
  const started: string[] = [];
  for (let count = 0; count < 100; count++) started.push(await startSnapshot(client));
  t.match(await failure(startSnapshot(client)), { name: 'ConcurrentLimitExceededException', status: 400 });
  t.equal(await complete(client, started[0]!, 0), 'completed');
  t.match(await startSnapshot(client), /^snap-/);
});

t.test('[ebs: StartSnapshot / Timeout] nothing written, or not completed after the last put', async (t) => {
  const clock = new ManualClock();
  let emulator = await emulatorFor(t, { clock });
  const block = seededBytes('x', 524_288);
  const gone = { status: 404, reason: 'SNAPSHOT_NOT_FOUND' };
  const untouched = await startSnapshot(emulator.client);
  const written = await startSnapshot(emulator.client);
  const short = await startSnapshot(emulator.client, { Timeout: 10 });
  await clock.advance(10 * MINUTE_MS);
  t.match(await failure(putBlock(emulator.client, short, 0, block)), gone);
  await clock.advance(49 * MINUTE_MS);
  await putBlock(emulator.client, written, 0, block);
  await clock.advance(MINUTE_MS);
  t.match(await failure(putBlock(emulator.client, untouched, 0, block)), gone);
  t.equal(await complete(emulator.client, untouched, 0), 'error');
  await clock.advance(58 * MINUTE_MS);
  await emulator.close();
  emulator = await emulatorFor(t, { clock, dir: emulator.dir });
  await putBlock(emulator.client, written, 1, block);
  await clock.advance(59 * MINUTE_MS);
  t.equal(
    await complete(emulator.client, written, 2),
    'completed',
    'each put resets it, across a restart too',
  );
});

t.test('[ebs: Writing / the first puts after StartSnapshot can get 404]', async (t) => {
  const clock = new ManualClock();
  const { client } = await emulatorFor(t, { clock, faults: { startDelayMs: 5000 } });
  const snapshotId = await startSnapshot(client);
  const put = () => putBlock(client, snapshotId, 0, seededBytes('x', 524_288));
  t.match(await failure(put()), { status: 404, reason: 'SNAPSHOT_NOT_FOUND' });
  await clock.advance(5000);
  await put();
  t.equal(await complete(client, snapshotId, 1), 'completed');
});

t.test('[ebs: Reading / completed is not yet readable] and completion can take its time', async (t) => {
  const clock = new ManualClock();
  const { client } = await emulatorFor(t, {
    clock,
    faults: { completeDelayMs: 3000, readableDelayMs: 55_000 },
  });
  const snapshotId = await startSnapshot(client);
  await putBlock(client, snapshotId, 0, seededBytes('x', 524_288));
  const ask = async () =>
    (await client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 1 })))
      .Status;
  t.equal(await ask(), 'pending');
  await clock.advance(2999);
  t.equal(await ask(), 'pending');
  t.match(
    await failure(putBlock(client, snapshotId, 1, seededBytes('x', 524_288))),
    { reason: 'INVALID_SNAPSHOT_ID' },
    'no puts once completion was asked for',
  );
  await clock.advance(1);
  t.equal(await complete(client, snapshotId, 1), 'completed');
  const child = () => startSnapshot(client, { ParentSnapshotId: snapshotId });
  t.match(await failure(child()), { reason: 'INVALID_SNAPSHOT_ID' });
  await clock.advance(54_999);
  t.match(await failure(child()), { reason: 'INVALID_SNAPSHOT_ID' });
  await clock.advance(1);
  t.match(await child(), /^snap-/);
});
