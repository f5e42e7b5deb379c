import t from 'tap';
import { blockChecksum, linearChecksum } from '../../src/ebs/checksum.js';
import { EbsError } from '../../src/ebs/errors.js';
import type { SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { emulatedApi } from '../fixtures/emulated-api.js';
import { patternBlock } from '../fixtures/fake-snapshot.js';

async function errorOf(promise: Promise<unknown>): Promise<EbsError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof EbsError) return error;
    throw error;
  }
  throw new Error('it should have failed');
}

/** Writes a snapshot of pattern blocks, and gives its id once it can be read. */
async function write(
  api: SnapshotApi,
  blocks: ReadonlyMap<number, number>,
  parentSnapshotId?: string,
): Promise<string> {
  const clientToken = `token-${Math.random()}`;
  const parent = parentSnapshotId === undefined ? {} : { parentSnapshotId };
  const { snapshotId, status } = await api.startSnapshot({ volumeSizeGib: 1, clientToken, ...parent });
  if (status !== 'pending') throw new Error(status);
  const checksums: string[] = [];
  for (const [blockIndex, pattern] of [...blocks].sort(([a], [b]) => a - b)) {
    const bytes = patternBlock(pattern);
    const checksum = await blockChecksum(bytes);
    await api.putSnapshotBlock({ snapshotId, blockIndex, bytes, checksum, progressPercent: 50 });
    checksums.push(checksum);
  }
  const completion = { snapshotId, changedBlocksCount: blocks.size, checksum: linearChecksum(checksums) };
  let state = await api.completeSnapshot(completion);
  for (let polls = 0; state === 'pending' && polls < 100; polls += 1)
    state = await api.completeSnapshot(completion);
  if (state !== 'completed') throw new Error(state);
  return snapshotId;
}

t.test('the emulator: written by the client, and read by it', async (t) => {
  const { client } = await emulatedApi(t);
  const first = await write(
    client,
    new Map([
      [0, 10],
      [5, 15],
      [2047, 20],
    ]),
  );
  const second = await write(
    client,
    new Map([
      [5, 99],
      [6, 16],
    ]),
    first,
  );

  const page = await client.listSnapshotBlocks({ snapshotId: second, resultsMax: 100 });
  t.same(
    page.blocks.map(({ blockIndex }) => blockIndex),
    [0, 5, 6, 2047],
  );
  t.equal(page.volumeSizeGib, 1);
  t.equal(page.nextToken, undefined);
  t.ok(page.expiryMs > Date.now());
  for (const [position, pattern] of [10, 99, 16, 20].entries()) {
    const block = await client.getSnapshotBlock({ snapshotId: second, ...page.blocks[position]! });
    t.ok(block.bytes.equals(patternBlock(pattern)));
    t.equal(block.checksum, await blockChecksum(block.bytes));
    t.match(block, { declaredLengthBytes: 524_288, checksumAlgorithm: 'SHA256' });
  }

  const changes = await client.listChangedBlocks({
    firstSnapshotId: first,
    secondSnapshotId: second,
    resultsMax: 100,
  });
  t.same(
    changes.blocks.map(({ blockIndex, firstBlockToken, secondBlockToken }) => [
      blockIndex,
      Boolean(firstBlockToken),
      Boolean(secondBlockToken),
    ]),
    [
      [5, true, true],
      [6, false, true],
    ],
  );
});

t.test('the emulator: refusals', async (t) => {
  const { client } = await emulatedApi(t);
  const snapshotId = await write(client, new Map([[3, 3]]));
  const other = await write(client, new Map([[3, 3]]));
  const get = { snapshotId, blockIndex: 3, blockToken: 'nonsense' };
  t.match(await errorOf(client.getSnapshotBlock(get)), {
    kind: 'invalid-block-token',
    status: 400,
    retryable: false,
  });
  const missing = { snapshotId: 'snap-00000000000000000', resultsMax: 100 };
  t.match(await errorOf(client.listSnapshotBlocks(missing)), {
    kind: 'not-found',
    reason: 'SNAPSHOT_NOT_FOUND',
  });
  t.match(await errorOf(client.listSnapshotBlocks({ snapshotId, resultsMax: 99 })), {
    kind: 'invalid-request',
  });
  const page = { snapshotId, resultsMax: 100, pageToken: 'nonsense' };
  t.match(await errorOf(client.listSnapshotBlocks(page)), { kind: 'invalid-page-token' });
  const unrelated = { firstSnapshotId: other, secondSnapshotId: snapshotId, resultsMax: 100 };
  t.match(await errorOf(client.listChangedBlocks(unrelated)), { kind: 'unrelated-snapshots' });
  const start = { volumeSizeGib: 1, clientToken: 'again' };
  const started = await client.startSnapshot(start);
  t.equal((await client.startSnapshot(start)).snapshotId, started.snapshotId);
  t.match(await errorOf(client.startSnapshot({ ...start, volumeSizeGib: 2 })), {
    kind: 'conflict',
    status: 409,
  });
  const put = {
    snapshotId: started.snapshotId,
    blockIndex: 1,
    bytes: patternBlock(1),
    checksum: await blockChecksum(patternBlock(2)),
  };
  t.match(await errorOf(client.putSnapshotBlock(put)), { kind: 'invalid-signature', status: 403 });
});

t.test('the emulator: speed limits and faults', async (t) => {
  const { client, api, emulator } = await emulatedApi(t);
  const snapshotId = await write(api, new Map([[3, 3]]));
  const { blocks } = await api.listSnapshotBlocks({ snapshotId, resultsMax: 100 });
  const get = { snapshotId, ...blocks[0]! };

  emulator.setFaults({ errorRate: 1 });
  t.match(await errorOf(client.getSnapshotBlock(get)), { kind: 'server', retryable: true });
  emulator.setFaults({ errorRate: 0, dropRate: 1 });
  t.match(await errorOf(client.getSnapshotBlock(get)), { kind: 'network', retryable: true });
  t.match(await errorOf(client.listSnapshotBlocks({ snapshotId, resultsMax: 100 })), { kind: 'network' });
  emulator.setFaults({ dropRate: 0, getRate: 5 });
  const kinds = await Promise.all(
    Array.from({ length: 20 }, () =>
      client.getSnapshotBlock(get).then(
        () => 'ok',
        (error: unknown) => (error as EbsError).kind,
      ),
    ),
  );
  t.ok(kinds.includes('throttled-account'));
  emulator.setFaults({ getRate: null, snapshotGetRate: 5 });
  await Promise.all(Array.from({ length: 12 }, () => api.getSnapshotBlock(get)));
  emulator.setFaults({ snapshotGetRate: null, corruptRate: 0.5, errorRate: 0.2, dropRate: 0.2 });
  for (let round = 0; round < 20; round += 1) {
    t.ok((await api.getSnapshotBlock(get)).bytes.equals(patternBlock(3)));
  }
});

t.test('the emulator: the first puts of a new snapshot may not find it yet', async (t) => {
  const { api, emulator } = await emulatedApi(t, { startDelayMs: 500 });
  const snapshotId = await write(api, new Map([[3, 3]]));
  t.ok(snapshotId);
  t.ok(emulator.stats().operations.PutSnapshotBlock.requests > 1);
});
