import { join } from 'node:path';
import t from 'tap';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import type { ByteRange } from '../fixtures/nbd-agent.js';
import { connectAgent } from '../fixtures/nbd-agent.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { digestsOfRanges, makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { freshSeed } from '../fixtures/seeded.js';
import { serve } from '../fixtures/serving.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const EIO = 5;

t.test('a copy is whole though the API fails', needsPrograms('nbdcopy', 'cmp'), async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const { folder, emulator, snapshotId, original } = await makeScatteredSnapshot(t, seed);
  const faults = ['--error-rate', '0.2', '--corrupt-rate', '0.05', '--drop-rate', '0.05'];
  const api = await startEmulator(t, emulator, faults);
  const served = await serve(t, {
    exports: [snapshotId],
    options: ['--endpoint-url', api.url],
    env: CREDENTIALS,
  });
  const copy = join(folder, 'copy');
  await mustRun('nbdcopy', [served.unix(snapshotId), copy]);
  t.equal((await runProgram('cmp', [copy, original])).status, 0, 'every byte');
  const { operations, snapshots } = await api.stats();
  const { requests, corrupted, byStatus } = operations.GetSnapshotBlock;
  t.comment(`${requests} requests for ${snapshots[snapshotId]?.distinctBlocksGot} blocks`);
  t.ok(corrupted > 0 && byStatus.dropped && byStatus['500'], 'and there were faults of all three kinds');
});

t.test(
  'reads fail while the API is down, and work again, on one connection',
  needsPython('nbd'),
  async (t) => {
    const seed = freshSeed();
    t.comment(`seed ${seed}`);
    const { emulator, snapshotId, original, sizeBytes } = await makeScatteredSnapshot(t, seed);
    const api = await startEmulator(t, emulator);
    const served = await serve(t, {
      exports: [snapshotId],
      options: ['--endpoint-url', api.url, '--retry-timeout', '2s'],
      env: CREDENTIALS,
    });
    const agent = await connectAgent(t, served.tcp(snapshotId));
    // The first block is read before, so that it is known; the last ones of the image are not.
    const known: ByteRange = [0, 4096];
    const unknown: readonly ByteRange[] = [
      [sizeBytes - 2 ** 19, 2 ** 19],
      [sizeBytes - 2 ** 19, 512],
    ];
    t.strictSame(await agent.read([known]), digestsOfRanges(original, [known]), 'before');

    await api.process.stop('SIGKILL');
    const begunMs = performance.now();
    t.strictSame(await agent.read(unknown), [EIO, EIO], 'while it is down');
    t.comment(`EIO after ${Math.round(performance.now() - begunMs)} ms, with --retry-timeout 2s`);
    t.strictSame(await agent.read([known]), digestsOfRanges(original, [known]), 'from memory meanwhile');

    await startEmulator(t, emulator, [], api.port);
    t.strictSame(await agent.read(unknown), digestsOfRanges(original, unknown), 'once it is up again');
    t.equal(await agent.disconnect(), 0);
  },
);
