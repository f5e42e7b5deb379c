import t from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { createSynth } from '../../src/emulator/synth/create-synth.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import { openSnapshotDevice } from '../../src/snapshot/snapshot-device.js';
import { summarizeSnapshot } from '../../src/snapshot/snapshot-listing.js';
import { TokenMemory } from '../../src/snapshot/token-memory.js';
import { Limiter } from '../../src/util/limiter.js';
import { MIB } from '../../src/util/units.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { emulatedApi, type EmulatedApi } from '../fixtures/emulated-api.js';

const VOLUME_BLOCKS = 2048;
const READ_BYTES = 6 * MIB;

function opening(
  { api }: EmulatedApi,
  snapshotId: string,
  cacheBytes: number,
): Parameters<typeof openSnapshotDevice>[0] {
  return { api, snapshotId, cache: new BlockCache(cacheBytes), limiter: new Limiter(16) };
}

t.test('a device over the emulator is what the emulator holds, whatever goes wrong on the way', async (t) => {
  const emulated = await emulatedApi(t);
  const { dir, emulator } = emulated;
  const snapshotId = await createSynth({ dir, volumeSizeGib: 1, fill: 0.3, seed: 7 });
  const calm = await openSnapshotDevice(opening(emulated, snapshotId, 0));
  const faults = { errorRate: 0.2, corruptRate: 0.2, dropRate: 0.1, emptyPageRate: 0.3, pageSize: 17 };
  emulator.setFaults(faults);
  const shaken = await openSnapshotDevice({
    ...opening(emulated, snapshotId, 20 * MIB),
    tokenMemory: new TokenMemory(4000),
  });
  for (let offset = 3000; offset + READ_BYTES < 80 * MIB; offset += READ_BYTES) {
    const bytes = joinChunks(await shaken.read(offset, READ_BYTES), READ_BYTES);
    emulator.setFaults({ errorRate: 0, corruptRate: 0, dropRate: 0 });
    const expected = joinChunks(await calm.read(offset, READ_BYTES), READ_BYTES);
    emulator.setFaults(faults);
    if (!bytes.equals(expected)) t.fail(`the bytes from ${offset} on`);
  }
  const { operations } = emulator.stats();
  t.ok(operations.GetSnapshotBlock.corrupted > 0, 'there was something to withstand');
  calm.close();
  shaken.close();
});

t.test('one call to open, one for each block that is read, none for a hole', async (t) => {
  const emulated = await emulatedApi(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: 0.5 });
  const device = await openSnapshotDevice(opening(emulated, snapshotId, 64 * MIB));
  t.equal(emulated.emulator.stats().operations.ListSnapshotBlocks.requests, 1);
  const listed = (await device.extents(0, 64 * BLOCK_BYTES, { extentsMax: 1000 }))
    .filter(({ flags }) => flags === 0)
    .reduce((sum, { lengthBytes }) => sum + lengthBytes / BLOCK_BYTES, 0);
  await Promise.all(
    Array.from({ length: 500 }, async (_, at) => device.read(((at * 7919) % 8192) * 4096, 4096)),
  );
  await device.read(0, 64 * BLOCK_BYTES);
  const { operations, snapshots } = emulated.emulator.stats();
  t.equal(operations.ListSnapshotBlocks.requests, 1);
  t.equal(operations.GetSnapshotBlock.requests, listed);
  t.equal(snapshots[snapshotId]?.distinctBlocksGot, listed);
  device.close();
});

t.test('a huge and full snapshot opens, and is read anywhere, by a call or two', async (t) => {
  const emulated = await emulatedApi(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 65_536 });
  const device = await openSnapshotDevice(opening(emulated, snapshotId, 64 * MIB));
  await device.read(51 * 2 ** 40 + 12_345, 4096);
  t.equal(emulated.emulator.stats().operations.ListSnapshotBlocks.requests, 2);
  t.equal(emulated.emulator.stats().operations.GetSnapshotBlock.requests, 1);
  const extents = await device.extents(0, 2 ** 46, { extentsMax: 100 });
  t.equal(extents.length, 1);
  t.ok(emulated.emulator.stats().operations.ListSnapshotBlocks.requests <= 4);
  device.close();
});

t.test('tokens that expire early are renewed', async (t) => {
  const emulated = await emulatedApi(t, { tokenTtlMs: 1 });
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1 });
  const device = await openSnapshotDevice(opening(emulated, snapshotId, 64 * MIB));
  emulated.emulator.setFaults({ tokenTtlMs: 60_000 });
  const read = await device.read(0, 4 * BLOCK_BYTES);
  t.equal(joinChunks(read, 4 * BLOCK_BYTES).length, 4 * BLOCK_BYTES);
  t.equal(emulated.emulator.stats().operations.ListSnapshotBlocks.requests, 2);
  device.close();
});

t.test('counting a snapshot in pages of any kind', async (t) => {
  const emulated = await emulatedApi(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: 0.5 });
  const { api } = emulated;
  const plain = await summarizeSnapshot({ api, snapshotId });
  t.equal(plain.volumeSizeGib, 1);
  t.ok(plain.listedBlocks > 0.4 * VOLUME_BLOCKS && plain.listedBlocks < 0.6 * VOLUME_BLOCKS);
  emulated.emulator.setFaults({ pageSize: 100, emptyPageRate: 0.5, errorRate: 0.1 });
  t.equal((await summarizeSnapshot({ api, snapshotId })).listedBlocks, plain.listedBlocks);
});
