import { join } from 'node:path';
import t from 'tap';
import { connectAgent } from '../fixtures/nbd-agent.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { digestsOfRanges, makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { freshSeed } from '../fixtures/seeded.js';
import { seededRanges } from '../fixtures/seeded-ranges.js';
import { serve } from '../fixtures/serving.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const SCRATCH_BYTES = 12_345 * 512;

t.test('libnbd', { ...needsPrograms('nbdinfo', 'nbdcopy', 'cmp'), ...needsPython('nbd') }, async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const { folder, emulator, snapshotId, original, sizeBytes } = await makeScatteredSnapshot(t, seed);
  const served = await serve(t, {
    exports: [`root=${snapshotId}`, `scratch=memory:${SCRATCH_BYTES}`],
    emulator,
  });

  await t.test('nbdinfo tells what is served', async (t) => {
    for (const uri of [served.tcp('root'), served.unix('root'), `nbd://127.0.0.1:${served.port}/`]) {
      const info = JSON.parse(await mustRun('nbdinfo', ['--json', uri]));
      t.match(info, { protocol: /^newstyle-fixed/, TLS: false }, uri);
      t.equal(info.exports.length, 1, 'one export');
      t.match(info.exports[0], { 'export-size': sizeBytes, is_read_only: true, can_multi_conn: true }, uri);
    }
    const size = await mustRun('nbdinfo', ['--size', served.tcp('scratch')]);
    t.equal(size, `${SCRATCH_BYTES}\n`, 'the size of the scratch disk');
  });

  await t.test('nbdinfo --list names the exports, in their order', async (t) => {
    for (const uri of [`nbd://127.0.0.1:${served.port}`, `nbd+unix:///?socket=${served.socket}`]) {
      const list = JSON.parse(await mustRun('nbdinfo', ['--list', '--json', uri]));
      t.equal(list.exports.length, 2, uri);
      t.match(list.exports, [{ 'export-name': 'root' }, { 'export-name': 'scratch' }], uri);
    }
  });

  await t.test('an export that does not exist is refused with a reason', async (t) => {
    const outcome = await runProgram('nbdinfo', [`nbd://127.0.0.1:${served.port}/no-such-disk`]);
    t.equal(outcome.status, 1);
    t.match(outcome.stderr, /no-such-disk/);
  });

  const copies = [
    {
      title: 'over four connections',
      options: ['--connections=4', '--requests=64'],
      uri: served.unix('root'),
    },
    { title: 'over one connection by TCP', options: ['--connections=1'], uri: served.tcp('root') },
  ];
  for (const [index, { title, options, uri }] of copies.entries()) {
    await t.test(`nbdcopy of the whole snapshot, ${title}, is equal`, async (t) => {
      const copy = join(folder, `copy-${index}`);
      await mustRun('nbdcopy', [...options, uri, copy]);
      t.equal((await runProgram('cmp', [copy, original])).status, 0, 'every byte');
    });
  }

  await t.test('reads of any offset and length, many at once, are equal', async (t) => {
    const ranges = seededRanges(seed, sizeBytes, 300, 2 ** 20);
    const agent = await connectAgent(t, served.tcp('root'));
    t.match(agent, { sizeBytes, readOnly: true });
    t.strictSame(await agent.read(ranges), digestsOfRanges(original, ranges));
    t.equal(await agent.disconnect(), 0);
  });
});
