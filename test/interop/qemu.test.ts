import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { needsNewerQemu, needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { freshSeed } from '../fixtures/seeded.js';
import { importImage, serve } from '../fixtures/serving.js';
import { writeScatteredImage } from '../fixtures/sparse-file.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

t.test("QEMU's client", needsPrograms('qemu-img', 'qemu-io', 'qemu-nbd', 'cmp'), async (t) => {
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

  await t.test('qemu-img map sees the holes, and bench reads many at once', async (t) => {
    const map = JSON.parse(
      await mustRun('qemu-img', ['map', '-f', 'raw', '--output=json', uris[0]!]),
    ) as MapEntry[];
    t.equal(
      map.reduce((end, { start, length }) => (start === end ? end + length : NaN), 0),
      sizeBytes,
    );
    const holeBytes = map.reduce((sum, { zero, length }) => sum + (zero ? length : 0), 0);
    t.ok(holeBytes > sizeBytes / 2 && holeBytes < sizeBytes, `${holeBytes} bytes of holes`);
    const bench = ['bench', '-f', 'raw', '-c', '1000', '-d', '64', '-s', '4096', '-S', '65536', uris[1]!];
    t.match(await mustRun('qemu-img', bench), /Run completed/);
  });

  await t.test('qemu-nbd serves on what it is a client of', async (t) => {
    const [socket, pidFile] = [join(folder, 'q'), join(folder, 'qemu-nbd.pid')];
    const options = ['-t', '-r', '-f', 'raw', '-e', '4', '-k', socket, '--fork', `--pid-file=${pidFile}`];
    await mustRun('qemu-nbd', [...options, uris[0]!]);
    t.teardown(() => process.kill(Number(readFileSync(pidFile, 'utf8'))));
    const compared = ['compare', '-f', 'raw', '-F', 'raw', original, `nbd+unix:///?socket=${socket}`];
    t.match(await runProgram('qemu-img', compared), { status: 0, stdout: /identical/ });
  });
});

const newer = needsNewerQemu();

t.test('a client with extended headers: a newer QEMU', newer, async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const folder = workFolder(t);
  const original = join(folder, 'original');
  writeScatteredImage(original, { sizeBytes: 2 ** 26, runs: 30, runBytesMax: 2 ** 20, seed });
  const emulator = join(folder, 'emulator');
  const snapshotId = await importImage(t, emulator, original);
  truncateSync(original, 2 ** 30);
  const served = await serve(t, { exports: [`root=${snapshotId}`, 'scratch=memory:8GiB'], emulator });
  const [qemuImg, qemuIo] = [join(newer.folder, 'qemu-img'), join(newer.folder, 'qemu-io')];

  await t.test('reads a snapshot, and maps it', async (t) => {
    const copy = join(folder, 'copy.qcow2');
    await mustRun(qemuImg, [
      'convert',
      '-W',
      '-m',
      '16',
      '-f',
      'raw',
      '-O',
      'qcow2',
      served.tcp('root'),
      copy,
    ]);
    const compared = await runProgram(qemuImg, ['compare', copy, original, '-F', 'raw']);
    t.match(compared, { status: 0, stdout: /identical/ });
    const text = await mustRun(qemuImg, ['map', '-f', 'raw', '--output=json', served.unix('root')]);
    const map = JSON.parse(text) as MapEntry[];
    t.ok(map.some(({ zero }) => zero) && map.some(({ data }) => data));
  });

  await t.test('writes, zeroes and discards beyond what 32 bits can say', async (t) => {
    const script = [
      ...['write -P 0x11 5G 64M', 'write -P 0x22 100 1000', 'flush', 'write -z 1G 2047M', 'discard 5G 1G'],
      ...['read -P 0x22 100 1000', 'read -P 0 5G 64M', 'write -f -P 0x33 8191M 1M', 'read -P 0x33 8191M 1M'],
    ];
    const commands = script.flatMap((command) => ['-c', command]);
    const outcome = await runProgram(qemuIo, ['-f', 'raw', ...commands, served.unix('scratch')]);
    t.equal(outcome.status, 0, 'the program ended well', { stderr: outcome.stderr });
    t.notMatch(outcome.stdout, /fail/i);
    const bench = [
      'bench',
      '-f',
      'raw',
      '-w',
      '-c',
      '1000',
      '-d',
      '64',
      '-s',
      '65536',
      '--flush-interval=100',
    ];
    t.match(await mustRun(qemuImg, [...bench, served.tcp('scratch')]), /Run completed/);
  });

  const agreed = [...served.process.stderr().matchAll(/replies=(\w+)/g)].map(([, replies]) => replies);
  t.ok(agreed.length >= 4, 'the server tells what was agreed');
  t.strictSame(new Set(agreed), new Set(['extended']));
});

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly zero: boolean;
  readonly data: boolean;
}

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
