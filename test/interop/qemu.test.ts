import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { freshSeed } from '../fixtures/seeded.js';
import { importImage, serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

t.test("QEMU's client", needsPrograms('qemu-img', 'qemu-io', 'cmp'), async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const { folder, emulator, snapshotId, original, sizeBytes } = await makeScatteredSnapshot(t, seed);
  const served = await serve(t, { exports: [snapshotId], emulator });
  const uris = [served.tcp(snapshotId), served.unix(snapshotId)];

  await t.test('qemu-img info tells the size', async (t) => {
    for (const uri of uris) {
      const info = JSON.parse(await mustRun('qemu-img', ['info', '--output=json', '-f', 'raw', uri]));
      t.match(info, { format: 'raw', 'virtual-size': sizeBytes }, uri);
    }
  });

  await t.test('qemu-img compare finds the snapshot identical to the image', async (t) => {
    for (const uri of uris) {
      const outcome = await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', original, uri]);
      t.match(outcome, { status: 0, stdout: /identical/ }, uri);
    }
  });

  await t.test('qemu-img convert makes a raw image of it', async (t) => {
    const copy = join(folder, 'copy.raw');
    await mustRun('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uris[0]!, copy]);
    t.equal((await runProgram('cmp', [copy, original])).status, 0, 'every byte');
  });

  await t.test(
    'qemu-img convert makes a qcow2 image of it, out of order and with many coroutines',
    async (t) => {
      const copy = join(folder, 'copy.qcow2');
      await mustRun('qemu-img', ['convert', '-W', '-m', '16', '-f', 'raw', '-O', 'qcow2', uris[1]!, copy]);
      await mustRun('qemu-img', ['check', '-q', copy]);
      const compared = await runProgram('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', copy, original]);
      t.match(compared, { status: 0, stdout: /identical/ });
    },
  );
});

/** Runs of one byte each, one after another: across blocks of EBS, shorter than a sector, several blocks long. */
const PATTERNS = [
  { pattern: 0xa5, lengthBytes: 1000 },
  { pattern: 0x11, lengthBytes: 524_288 },
  { pattern: 0x00, lengthBytes: 3 * 524_288 },
  { pattern: 0xfe, lengthBytes: 77 },
  { pattern: 0x42, lengthBytes: 2 * 524_288 + 4096 },
];

t.test('qemu-io reads the patterns that were written', needsPrograms('qemu-io'), async (t) => {
  const folder = workFolder(t);
  const image = join(folder, 'image');
  writeFileSync(image, Buffer.concat(PATTERNS.map((run) => Buffer.alloc(run.lengthBytes, run.pattern))));
  const emulator = join(folder, 'emulator');
  const snapshotId = await importImage(t, emulator, image);
  const served = await serve(t, { exports: [`patterns=${snapshotId}`], emulator });

  let offset = 0;
  const reads = PATTERNS.map(({ pattern, lengthBytes }) => {
    const read = ['-c', `read -P ${pattern} ${offset} ${lengthBytes}`];
    offset += lengthBytes;
    return read;
  });
  const rest = ['-c', `read -P 0 ${offset} ${2 ** 30 - offset}`];
  const all = [...reads.flat(), ...rest];
  for (const uri of [served.tcp('patterns'), served.unix('patterns')]) {
    const { status, stdout, stderr } = await runProgram('qemu-io', ['-r', '-f', 'raw', ...all, uri]);
    t.equal(status, 0, uri, { stderr });
    t.equal(stdout.match(/^read \d+\/\d+ bytes/gm)?.length, PATTERNS.length + 1, 'every read was whole');
    t.notMatch(stdout, /failed/i, 'no pattern differs');
  }
  const wrong = await runProgram('qemu-io', [
    '-r',
    '-f',
    'raw',
    '-c',
    'read -P 0xa6 0 1000',
    served.tcp('patterns'),
  ]);
  t.match(wrong.stdout, /Pattern verification failed/, 'and qemu-io would have said so');
});
