import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compiledMain } from '../fixtures/compiled.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { importImage, serve, snapshotIdFrom } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const TORTURE = join(import.meta.dirname, '../../scripts/torture');

t.test('torture, a few rounds of it', needsPython('nbd'), async (t) => {
  const folder = workFolder(t);
  const args = ['--rounds', '5', '--operations', '120', '--dir', folder];
  const output = await mustRun(TORTURE, [...args, '--snapnbd', process.execPath, compiledMain()]);
  t.match(output, /5 rounds passed/, 'the last line says so');
  t.comment(output.split('\n')[0] ?? '');
});

t.test(
  'a fork is written by real clients and committed',
  needsPrograms('qemu-img', 'nbdcopy', 'fio', 'mkfs.ext4'),
  async (t) => {
    const folder = workFolder(t);
    const image = join(folder, 'image');
    const emulator = join(folder, 'emulator');
    writeFileSync(image, '');
    truncateSync(image, 2 ** 30);
    await mustRun('mkfs.ext4', ['-q', image]);
    const parent = await importImage(t, emulator, image);
    const state = ['--state-dir', join(folder, 'state')];
    const served = await serve(t, { exports: [`d=fork:${parent}`], emulator, options: state });
    const layout = [
      '--size=24M',
      '--offset=512M',
      '--bs=4k',
      '--verify=crc32c',
      '--name=layout',
      '--offset_increment=24M',
    ];
    for (const jobs of ['1', '4']) {
      await mustRun(
        'fio',
        [
          '--ioengine=nbd',
          `--uri=${served.unix('d')}`,
          '--rw=randwrite',
          '--iodepth=32',
          `--numjobs=${jobs}`,
          ...layout,
        ],
        { cwd: folder },
      );
    }
    const before = join(folder, 'before');
    await mustRun('nbdcopy', [served.unix('d'), before]);
    const committed = await snapshotIdFrom(t, ['commit', 'd', ...state, '--description', 'by a test']);
    const after = join(folder, 'after');
    await mustRun('nbdcopy', [served.unix('d'), after]);
    await mustRun('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', before, after]);
    await served.process.stop();

    const again = await serve(t, {
      exports: [committed, 'e=blank:1GiB', 'f=blank:1GiB'],
      emulator,
      options: state,
    });
    await mustRun('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', before, again.unix(committed)]);
    await mustRun('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, again.unix('e')]);
    await mustRun('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, again.unix('e')]);
    await mustRun('nbdcopy', ['--flush', image, again.unix('f')]);
    await mustRun('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, again.unix('f')]);
  },
);
