// Each recipe of docs/BACKUP.md, with the programs that it is for, over a lineage of three days.
import { closeSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { importImage } from '../../src/emulator/import/import-image.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { seededBytes } from '../fixtures/seeded.js';
import { serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const SCRIPT = join(import.meta.dirname, '../../examples/apply-changes.py');

type Writes = readonly (readonly [offset: number, bytes: Buffer])[];

/** What is written to the volume each day. It has grown on the last one, where only part of what is new was written. */
const DAYS: readonly Writes[] = [
  [[0, seededBytes('first', 3 * MIB)]],
  [
    [5 * KIB, seededBytes('second', 12 * KIB)],
    [MIB, Buffer.alloc(MIB)],
    [600 * MIB, seededBytes('new', 700 * KIB)],
  ],
  [
    [2 * MIB + 7, seededBytes('third', 100)],
    [GIB + 300 * MIB, seededBytes('grown', MIB)],
  ],
];

/** Makes the image of a day, with holes where nothing was written. */
function makeImage(path: string, day: number): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, day === 2 ? 2 * GIB : GIB);
  for (const [offset, bytes] of DAYS.slice(0, day + 1).flat())
    writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

t.test('backups of what has changed', needsPrograms('nbdinfo', 'nbdcopy', 'qemu-img'), async (t) => {
  const folder = workFolder(t);
  const emulator = join(folder, 'emulator');
  const image = (day: number): string => join(folder, `day${day}.img`);
  for (const day of DAYS.keys()) makeImage(image(day), day);
  /** Whether a raw image has the size and all the bytes of a day's. Passes over what is a hole in both. */
  const isLike = async (path: string, day: number): Promise<boolean> =>
    statSync(path).size === statSync(image(day)).size &&
    (await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', path, image(day)])).status === 0;
  const snapshots = [await importImage({ dir: emulator, imagePath: image(0) })];
  for (const day of [1, 2])
    snapshots.push(
      await importImage({ dir: emulator, imagePath: image(day), parent: snapshots[day - 1] ?? '' }),
    );
  const [first, second, third] = snapshots as [string, string, string];
  const served = await serve(t, {
    emulator,
    exports: [
      `day0=${first}`,
      `day1=${second},since=${first}`,
      `day2=${third},since=${second},since=${first}`,
      `back=${first},since=${second}`,
    ],
    options: ['--one-bitmap'],
  });
  const source = (day: string, context: string): string =>
    `driver=nbd,path=${served.socket},export=${day},x-dirty-bitmap=${context}`;

  await t.test('nbdinfo lists the contexts, one bitmap of them, and shows each', async (t) => {
    const info = JSON.parse(await mustRun('nbdinfo', ['--json', served.unix('day2')]));
    t.strictSame(info.exports[0].contexts, [
      'base:allocation',
      `qemu:dirty-bitmap:${second}`,
      `ebs:changed:${second}`,
      `ebs:overlay:${second}`,
      `ebs:changed:${first}`,
      `ebs:overlay:${first}`,
    ]);
    const map = async (day: string, context: string): Promise<number[][]> => {
      const found: unknown = JSON.parse(
        await mustRun('nbdinfo', [`--map=${context}`, '--json', served.unix(day)]),
      );
      return (found as Record<string, number>[]).map((run) => [
        run.offset! / MIB,
        run.length! / MIB,
        run.type!,
      ]);
    };
    t.strictSame(await map('day1', `qemu:dirty-bitmap:${first}`), [
      [0, 0.5, 1],
      [0.5, 0.5, 0],
      [1, 1, 1],
      [2, 598, 0],
      [600, 1, 1],
      [601, 423, 0],
    ]);
    t.strictSame(await map('day2', `ebs:changed:${second}`), [
      [0, 2, 0],
      [2, 0.5, 1],
      [2.5, 1021.5, 0],
      [1024, 300, 7],
      [1324, 1, 5],
      [1325, 723, 7],
    ]);
    t.strictSame(await map('back', `ebs:overlay:${second}`), [
      [0, 0.5, 0],
      [0.5, 0.5, 1],
      [1, 1, 0],
      [2, 598, 1],
      [600, 1, 2],
      [601, 423, 1],
    ]);
  });

  await t.test('qemu-img map shows what is dirty as a hole', async (t) => {
    const options = ['map', '--output=json', '--image-opts', source('day1', `qemu:dirty-bitmap:${first}`)];
    const runs = JSON.parse(await mustRun('qemu-img', options)) as { start: number; data: boolean }[];
    t.strictSame(
      runs.map(({ start, data }) => [start / MIB, data]),
      [
        [0, false],
        [0.5, true],
        [1, false],
        [2, true],
        [600, false],
        [601, true],
      ],
    );
  });

  await t.test('qemu-img convert makes a chain of increments', async (t) => {
    const increment = (day: number): string => join(folder, `day${day}.qcow2`);
    await mustRun('qemu-img', ['convert', '-O', 'qcow2', served.unix('day0'), increment(0)]);
    for (const day of [1, 2]) {
      const options = ['convert', '-O', 'qcow2', '-B', increment(day - 1), '-F', 'qcow2', '--image-opts'];
      const overlay = source(`day${day}`, `ebs:overlay:${snapshots[day - 1]}`);
      await mustRun('qemu-img', [...options, overlay, increment(day)]);
      const same = await runProgram('qemu-img', [
        ...['compare', '-f', 'qcow2', '-F', 'raw'],
        ...[increment(day), image(day)],
      ]);
      t.match(same, { status: 0 }, `day ${day} is the same in every byte`);
    }
    const { 'actual-size': actualBytes } = JSON.parse(
      await mustRun('qemu-img', ['info', '--output=json', increment(1)]),
    );
    t.ok(actualBytes < 2 * MIB, `an increment of ${actualBytes} bytes holds what has changed`);
  });

  await t.test('nbdcopy makes a copy', async (t) => {
    const copy = join(folder, 'copy.img');
    await mustRun('nbdcopy', [served.unix('day2'), copy]);
    t.ok(await isLike(copy, 2));
  });

  await t.test('a script brings an image up to date by what has changed', needsPython('nbd'), async (t) => {
    const copy = join(folder, 'yesterday.img');
    makeImage(copy, 0);
    for (const [day, since] of [
      [1, first],
      [2, second],
    ] as const) {
      const said = await mustRun('/usr/bin/python3', [SCRIPT, served.unix(`day${day}`), since, copy]);
      t.ok(await isLike(copy, day), `day ${day}`);
      t.ok(Number(/copied (\d+)/.exec(said)?.[1]) <= 2.5 * MIB, said);
    }
    const refused = await runProgram('/usr/bin/python3', [SCRIPT, served.unix('day0'), first, copy]);
    t.match(refused, { status: 1, stderr: /does not offer ebs:changed/ });
  });
});
