// The public API, used as a program would: a snapshot as a device, without a server.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  BlockCache,
  connectApi,
  EbsError,
  EbsErrorKind,
  openSnapshotDevice,
  silentLogger,
  systemClock,
} from '../src/index.js';
import { MemoryLog } from './fixtures/memory-log.js';
import { workFolder } from './fixtures/work-folder.js';

const CONTEXT = { logger: silentLogger, clock: systemClock };

t.test('connect, open, read, and see what it cost', async (t) => {
  const { createSynth } = await import('../src/emulator/synth/create-synth.js');
  const dir = join(workFolder(t), 'emulator');
  const snapshotId = await createSynth({ dir, volumeSizeGib: 1, fill: 0.5, seed: 3 });
  const connection = await connectApi({ emulatorDir: dir }, CONTEXT);
  const device = await openSnapshotDevice({
    api: connection.api,
    limiter: connection.limiter,
    snapshotId,
    cache: new BlockCache(8 * 1024 * 1024),
    readsAhead: false,
  });
  t.equal(device.sizeBytes, 2 ** 30);
  const chunks = await device.read(0, 4096);
  t.ok(chunks.length > 0);
  const { calls, usd } = connection.usage();
  t.equal(calls.ListSnapshotBlocks, 1);
  t.ok(calls.GetSnapshotBlock <= 1);
  t.equal(usd.toFixed(9), ((0.0006 + 0.003 * calls.GetSnapshotBlock) / 1000).toFixed(9));
  device.close();
  await connection.close();
});

t.test('an error says of what kind it is', async (t) => {
  const dir = join(workFolder(t), 'emulator');
  const connection = await connectApi({ emulatorDir: dir }, { ...CONTEXT, canMakeEmulator: true });
  const error = await openSnapshotDevice({
    api: connection.api,
    limiter: connection.limiter,
    snapshotId: 'snap-00000000000000000',
    cache: new BlockCache(1024 * 1024),
  }).catch((thrown: unknown) => thrown);
  t.ok(error instanceof EbsError);
  t.equal((error as EbsError).kind, EbsErrorKind.NotFound);
  await connection.close();
});

t.test(
  "the emulator's folder: made for whoever writes the first snapshot, and for nobody else",
  async (t) => {
    const folder = workFolder(t);
    const dir = join(folder, 'emulator');
    await t.rejects(connectApi({ emulatorDir: dir }, CONTEXT), { message: /there is none/ });
    t.notOk(existsSync(dir));
    const connection = await connectApi({ emulatorDir: dir }, { ...CONTEXT, canMakeEmulator: true });
    await connection.close();
    t.equal(statSync(dir).mode & 0o777, 0o700);
    const far = join(folder, 'no', 'such', 'place');
    await t.rejects(connectApi({ emulatorDir: far }, { ...CONTEXT, canMakeEmulator: true }), {
      name: 'EnvironmentError',
      message: /^Cannot make the emulator folder ".*place"/,
    });
  },
);

t.test('what calls may cost is a bound of the connection, and said once', async (t) => {
  const { createSynth } = await import('../src/emulator/synth/create-synth.js');
  const dir = join(workFolder(t), 'emulator');
  const snapshotId = await createSynth({ dir, volumeSizeGib: 1, fill: 1, seed: 3 });
  const log = new MemoryLog();
  const settings = { emulatorDir: dir, costMaxUsd: 0.00001, inFlightMax: 2 };
  const connection = await connectApi(settings, { ...CONTEXT, logger: log });
  const list = { snapshotId, resultsMax: 100 };
  const { blocks } = await connection.api.listSnapshotBlocks(list);
  const get = { snapshotId, ...blocks[0]! };
  for (let call = 0; call < 3; call += 1) await connection.api.getSnapshotBlock(get);
  for (let call = 0; call < 2; call += 1) {
    await t.rejects(connection.api.getSnapshotBlock(get), {
      kind: 'cost-limit',
      message: /Raise --max-cost/,
    });
  }
  const lines = log.lines.filter(({ message }) => message.includes('refused'));
  t.match(lines, [{ level: 'error', fields: { maxCost: '$0.000010' } }]);
  t.equal(lines.length, 1);
  await connection.close();
});
