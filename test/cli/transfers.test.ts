import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MIB } from '../../src/util/units.js';
import { durationText, textOf } from '../../src/cli/transfer-bar.js';
import { makingWishesOf, parseVolumeSize } from '../../src/cli/transfer-options.js';
import { isUtf8 } from '../../src/cli/map.js';
import { RateMeter } from '../../src/cli/rate-meter.js';
import { systemCodeOf } from '../../src/util/errors.js';
import { runProgram } from '../fixtures/run-program.js';
import { runCli, startCli } from '../fixtures/cli.js';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import { workFolder } from '../fixtures/work-folder.js';
import { writeScatteredImage } from '../fixtures/sparse-file.js';

const SIZE_BYTES = 60 * MIB;

interface Report {
  readonly snapshotId: string;
  readonly blockCount: number;
  readonly movedBlockCount: number;
  readonly keptBlockCount: number;
}

t.test('an upload that is killed goes on; the map shows it; a download gives it back', async (t) => {
  const folder = workFolder(t);
  const image = join(folder, 'image');
  writeScatteredImage(image, { sizeBytes: SIZE_BYTES, runs: 20, runBytesMax: 2 * MIB, seed: 'killed' });
  const emulator = await startEmulator(t, join(folder, 'emulator'), ['--put-rate', '50']);
  const common = ['--endpoint-url', emulator.url, '--state-dir', join(folder, 'state')];
  const upload = ['upload', image, '--json', '--tag', 'Name=killed', ...common];

  const killed = startCli(t, upload, CREDENTIALS);
  const putCount = async (): Promise<number> => {
    const { snapshots } = await emulator.stats();
    return Math.max(0, ...Object.values(snapshots).map(({ puts }) => puts));
  };
  while ((await putCount()) < 20) await new Promise((resolve) => setImmediate(resolve));
  await killed.stop('SIGKILL');
  const { status, stdout, stderr } = await runCli(t, upload, CREDENTIALS);
  t.equal(status, 0, stderr);
  const report = JSON.parse(stdout) as Report;
  t.ok(report.keptBlockCount >= 10, `${report.keptBlockCount} kept`);
  t.equal(report.keptBlockCount + report.movedBlockCount, report.blockCount);

  const { snapshotId } = report;
  const target = join(folder, 'back');
  const [map, json, download] = await Promise.all([
    runCli(t, ['map', snapshotId, '--png', join(folder, 'png'), '--endpoint-url', emulator.url], CREDENTIALS),
    runCli(t, ['map', snapshotId, '--json', '--endpoint-url', emulator.url], CREDENTIALS),
    runCli(t, ['download', snapshotId, target, ...common], CREDENTIALS),
  ]);
  t.match(map.stdout, /^snap-[0-9a-f]+: .* written of 1 GiB\n +0 \|[█▓▒░·]+\|\n/);
  t.equal(readFileSync(join(folder, 'png')).toString('latin1', 1, 4), 'PNG');
  const { data, dataBytes } = JSON.parse(json.stdout) as {
    data: { startBytes: number; lengthBytes: number }[];
    dataBytes: number;
  };
  t.equal(dataBytes, (report.blockCount * MIB) / 2);
  t.equal(
    data.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
    dataBytes,
  );
  t.strictSame([download.status, download.stdout], [0, ''], download.stderr);
  t.equal(statSync(target).size, 1024 * MIB);
  const head = Buffer.alloc(SIZE_BYTES);
  const file = openSync(target, 'r');
  readSync(file, head, 0, SIZE_BYTES, 0);
  closeSync(file);
  t.ok(head.equals(readFileSync(image)));
});

t.test('a transfer through a pipe that nobody serves ends when it is stopped', async (t) => {
  const folder = workFolder(t);
  const image = join(folder, 'image');
  const pipe = join(folder, 'pipe');
  const dir = join(folder, 'emulator');
  const stateDir = join(folder, 'state');
  writeFileSync(image, Buffer.alloc(MIB, 7));
  await runProgram('mkfifo', [pipe]);
  const common = ['--emulator', dir, '--state-dir', stateDir];
  // Nobody writes to it.
  const upload = startCli(t, ['upload', pipe, ...common]);
  while (!existsSync(join(stateDir, 'transfers'))) await new Promise((resolve) => setImmediate(resolve));
  t.match(await upload.stop('SIGINT'), { status: 1, stderr: /^snapnbd: Stopped/ });

  const uploading = runCli(t, ['upload', pipe, '--json', ...common]);
  await runProgram('sh', ['-c', 'cat "$0" > "$1"', image, pipe]);
  const { stdout } = await uploading;
  const { snapshotId } = JSON.parse(stdout) as Report;
  const download = ['download', snapshotId, pipe, '--emulator', dir];
  // Nobody reads from it, or it has been opened, and is full.
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const full = startCli(t, download);
  const room = Buffer.alloc(1);
  const hasCome = (): boolean => {
    try {
      return readSync(reader, room) > 0;
    } catch (error) {
      return systemCodeOf(error) !== 'EAGAIN';
    }
  };
  while (!hasCome()) await new Promise((resolve) => setImmediate(resolve));
  t.match(await full.stop('SIGINT'), { status: 1, stderr: /^snapnbd: Stopped/ });
  closeSync(reader);
  const early = runCli(t, download);
  const read = await runProgram('sh', ['-c', 'head -c 1048576 "$0" | cmp - "$1"', pipe, image]);
  t.equal(read.status, 0, 'what was uploaded, to who comes later');
  t.match(await early, { status: 1, stderr: /whoever read it has gone/ });
});

t.test('what a bar says', async (t) => {
  const progress = {
    step: 'move',
    snapshotId: 'snap-1',
    doneCount: 50,
    totalCount: 200,
    movedCount: 50,
  } as const;
  t.equal(textOf(progress, 10, 0.01), '25 % of 200 blocks, 10/s, 5 MiB/s, 0:15 left, $0.0100');
  t.equal(textOf({ ...progress, totalCount: undefined }, 0, 0), '50 blocks, 0/s, 0 B/s, $0.0000');
  t.match(textOf({ ...progress, totalCount: 0, doneCount: 0 }, 0, 0), /^100 % of 0 blocks/);
  t.equal(textOf({ ...progress, step: 'complete' }, 1, 0), 'snap-1, waiting for AWS to complete it, $0.0000');
  t.strictSame([5, 750, 11_100.2].map(durationText), ['0:05', '12:30', '3:05:01']);
  const rate = new RateMeter();
  for (let second = 0; second <= 60; second += 1)
    rate.add(second * 1000, second < 30 ? 0 : (second - 29) * 100);
  t.equal(Math.round(rate.perSecond), 100, 'of the last seconds alone');
  rate.add(60_100, 0);
  t.equal(rate.perSecond, 0, 'begun anew');
});

t.test('options that do not go together, sizes and locales', async (t) => {
  t.throws(() => makingWishesOf({ parent: 'snap-1', encrypted: true }), {
    message: /--encrypted with --parent/,
  });
  t.throws(() => makingWishesOf({ parent: 'snap-1', kmsKeyId: 'k' }), {
    message: /--kms-key-id with --parent/,
  });
  t.strictSame(makingWishesOf({ kmsKeyId: 'k' }), { encryption: { kmsKeyArn: 'k' } });
  t.strictSame(['1', '20', '1TiB'].map(parseVolumeSize), [1, 20, 1024]);
  for (const text of ['0', '1.5', '70000', '1MiB', 'x']) t.throws(() => parseVolumeSize(text), text);
  t.ok(isUtf8({ LANG: 'de_DE.utf8' }));
  t.notOk(isUtf8({ LC_ALL: 'C', LANG: 'de_DE.UTF-8' }));
  t.notOk(isUtf8({}));
});
