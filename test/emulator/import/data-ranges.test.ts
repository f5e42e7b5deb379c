import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dataRanges, type DataRange } from '../../../src/emulator/import/data-ranges.js';
import { silentLogger } from '../../../src/util/logger.js';
import { workFolder } from '../../fixtures/work-folder.js';

const MIB = 1024 * 1024;
const SIZE = 100 * 1024 * MIB;

/** A file of 100 GiB with three pieces of data. */
function sparseFile(t: Test): number {
  const fd = openSync(join(workFolder(t), 'sparse'), 'w+');
  for (const offset of [0, 7 * MIB, SIZE - 4096]) writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, offset);
  ftruncateSync(fd, SIZE);
  t.teardown(() => closeSync(fd));
  return fd;
}

async function collect(fd: number, sizeBytes: number): Promise<DataRange[]> {
  const found: DataRange[] = [];
  for await (const range of dataRanges(fd, sizeBytes, silentLogger)) found.push(range);
  return found;
}

/** Runs with only these programs to be found. */
async function withPrograms(
  t: Test,
  programs: Record<string, string>,
  run: () => Promise<unknown>,
): Promise<void> {
  const folder = join(workFolder(t), 'bin');
  mkdirSync(folder);
  for (const [name, script] of Object.entries(programs)) {
    if (script.startsWith('/')) symlinkSync(script, join(folder, name));
    else writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const path = process.env.PATH;
  process.env.PATH = folder;
  try {
    await run();
  } finally {
    process.env.PATH = path ?? delimiter;
  }
}

function covers(ranges: readonly DataRange[], offset: number): boolean {
  return ranges.some(({ start, end }) => start <= offset && offset < end);
}

t.test(
  'holes are asked for, with either program',
  { skip: process.platform !== 'linux' && 'Linux only' },
  async (t) => {
    const fd = sparseFile(t);
    for (const [name, path] of [
      ['perl', '/usr/bin/perl'],
      ['python3', '/usr/bin/python3'],
    ] as const) {
      await withPrograms(t, { [name]: path }, async () => {
        const ranges = await collect(fd, SIZE);
        const sum = ranges.reduce((bytes, { start, end }) => bytes + end - start, 0);
        t.ok(sum < 10 * MIB, `${name}: ${sum} bytes`);
        for (const offset of [0, 4095, 7 * MIB, SIZE - 4096, SIZE - 1])
          t.ok(covers(ranges, offset), `${offset}`);
      });
    }
  },
);

t.test('what cannot be asked for is data', async (t) => {
  const fd = sparseFile(t);
  const whole = [{ start: 0, end: SIZE }];
  await withPrograms(t, {}, async () => t.strictSame(await collect(fd, SIZE), whole, 'no program'));
  for (const script of ['exit 1', 'echo nonsense', 'echo 5 3', 'echo 1 2; exit 1']) {
    await withPrograms(t, { perl: script }, async () => {
      const ranges = await collect(fd, SIZE);
      t.equal(ranges.at(-1)?.end, SIZE, script);
      t.ok(
        [0, 7 * MIB, SIZE - 1].every((offset) => offset === 0 || covers(ranges, offset)),
        script,
      );
    });
  }
});

t.test('a file that grew is read up to the size that it had', async (t) => {
  const fd = sparseFile(t);
  const ranges = await collect(fd, 7 * MIB + 100);
  t.equal(ranges.at(-1)?.end, 7 * MIB + 100);
});
