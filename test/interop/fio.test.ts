import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { importImage, serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const DATA_MIB = 48;

t.test('fio', needsPrograms('fio'), async (t) => {
  // Each block of 4 KiB that fio writes has its offset and a checksum in it, which a later run of fio verifies.
  const folder = workFolder(t);
  const image = join(folder, 'image');
  const layout = [`--size=${DATA_MIB}M`, '--bs=4k', '--verify=crc32c', '--name=layout'];
  await mustRun(
    'fio',
    ['--ioengine=psync', `--filename=${image}`, '--rw=write', '--do_verify=0', ...layout],
    {
      cwd: folder,
    },
  );
  truncateSync(image, 2 ** 30);
  const emulator = join(folder, 'emulator');
  const snapshotId = await importImage(t, emulator, image);
  const served = await serve(t, { exports: [snapshotId], emulator });

  const runs = [
    { title: 'in order', options: ['--rw=read', '--iodepth=16'], uri: served.tcp(snapshotId), jobs: 1 },
    { title: 'at random', options: ['--rw=randread', '--iodepth=32'], uri: served.unix(snapshotId), jobs: 1 },
    {
      title: 'at random over four connections',
      options: ['--rw=randread', '--iodepth=8', '--numjobs=4', '--group_reporting'],
      uri: served.unix(snapshotId),
      jobs: 4,
    },
  ];
  for (const { title, options, uri, jobs } of runs) {
    await t.test(`fio reads ${title}, and what it reads verifies`, async (t) => {
      const report = join(folder, 'report.json');
      const outcome = await runProgram(
        'fio',
        [
          '--ioengine=nbd',
          `--uri=${uri}`,
          ...options,
          ...layout,
          '--output-format=json',
          `--output=${report}`,
        ],
        { cwd: folder },
      );
      t.equal(outcome.status, 0, 'the program ended well', { stderr: outcome.stderr });
      const text = readFileSync(report, 'utf8');
      const [job] = JSON.parse(text.slice(text.indexOf('{'))).jobs;
      t.match(job, { error: 0, read: { io_bytes: jobs * DATA_MIB * 2 ** 20 } }, 'all of it was read');
    });
  }
});

t.test(
  'fio writes to a scratch disk over several connections, and reads back the same',
  needsPrograms('fio'),
  async (t) => {
    const folder = workFolder(t);
    const served = await serve(t, { exports: ['scratch=memory:64MiB'] });
    for (const uri of [served.tcp('scratch'), served.unix('scratch')]) {
      // Each job has a part of the disk for itself. Every 64 writes are followed by a flush.
      const outcome = await runProgram(
        'fio',
        [
          ...['--name=scratch', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bsrange=512-64k'],
          ...['--bs_unaligned=1', '--size=16M', '--numjobs=4', '--offset_increment=16M', '--iodepth=16'],
          ...['--fsync=64', '--verify=sha256', '--verify_fatal=1', '--group_reporting'],
        ],
        { cwd: folder },
      );
      t.equal(outcome.status, 0, 'the program ended well', { stderr: outcome.stderr });
    }
  },
);
