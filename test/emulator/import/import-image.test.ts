import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { importImage } from '../../../src/emulator/import/import-image.js';
import type { ImportProgress } from '../../../src/emulator/import/importer.js';
import { listSnapshots } from '../../../src/emulator/list-snapshots.js';
import { createSynth } from '../../../src/emulator/synth/create-synth.js';
import { contentsOf, numberedBlock, openFolder } from '../../fixtures/emulator-folder.js';
import { runProgram } from '../../fixtures/run-program.js';
import { freshSeed } from '../../fixtures/seeded.js';
import { workFolder } from '../../fixtures/work-folder.js';

const BLOCK_BYTES = 524_288;

/** An image with numbered blocks at some places, and holes elsewhere; block 0 is written zeros, not a hole. */
function writeImage(path: string, sizeBytes: number, blocks: ReadonlyMap<number, number>): void {
  const fd = openSync(path, 'w');
  for (const [index, n] of blocks) {
    const length = Math.min(BLOCK_BYTES, sizeBytes - index * BLOCK_BYTES);
    writeSync(fd, numberedBlock(n).bytes, 0, length, index * BLOCK_BYTES);
  }
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
}

/** The numbered blocks of a snapshot and how many it stores itself. */
async function look(
  dir: string,
  snapshotId: string,
): Promise<{ contents: Record<number, number>; own: number }> {
  const folder = await openFolder(dir);
  const contents = Object.fromEntries(await contentsOf(folder, snapshotId));
  await folder.close();
  const listed = (await listSnapshots(dir)).find((snapshot) => snapshot.snapshotId === snapshotId);
  return { contents, own: listed!.ownBlockCount! };
}

t.test('holes and blocks of zeros are not stored, the rest is what it was', async (t) => {
  const dir = workFolder(t);
  const image = join(workFolder(t), 'image');
  const blocks = new Map([
    [0, 1],
    [1, 0],
    [2, 2],
    [40, 3],
    [2047, 4],
    [2050, 1],
  ]);
  writeImage(image, 2051 * BLOCK_BYTES, blocks);
  const snapshotId = await importImage({ dir, imagePath: image, description: 'an image' });
  t.strictSame(await look(dir, snapshotId), { contents: { 0: 1, 2: 2, 40: 3, 2047: 4, 2050: 1 }, own: 5 });
  const [listed] = await listSnapshots(dir);
  t.match(listed, { volumeSizeGib: 2, description: 'an image', state: 'completed', origin: 'import' });
});

t.test('a size of any number of bytes is padded with zeros to whole GiB', async (t) => {
  const dir = workFolder(t);
  const image = join(workFolder(t), 'image');
  for (const [sizeBytes, gib] of [
    [1, 1],
    [BLOCK_BYTES + 5, 1],
    [2 ** 30, 1],
    [2 ** 30 + 1, 2],
  ] as const) {
    writeFileSync(image, '');
    truncateSync(image, sizeBytes);
    const fd = openSync(image, 'r+');
    writeSync(fd, Buffer.from([0xa5]), 0, 1, sizeBytes - 1);
    closeSync(fd);
    const snapshotId = await importImage({ dir, imagePath: image });
    const folder = await openFolder(dir);
    const view = await folder.registry.readableView(snapshotId);
    t.equal(view.volumeSizeGib, gib);
    const last = Math.floor((sizeBytes - 1) / BLOCK_BYTES);
    const bytes = Buffer.concat((await folder.registry.readBlock(view, last))!.pieces);
    const expected = Buffer.alloc(BLOCK_BYTES);
    expected[(sizeBytes - 1) % BLOCK_BYTES] = 0xa5;
    t.ok(bytes.equals(expected), `${sizeBytes} bytes`);
    await folder.close();
  }
});

t.test('--parent: only what differs, zeros where the parent has data, whatever is a hole', async (t) => {
  const seed = Number.parseInt(freshSeed().slice(0, 8), 16);
  t.comment(`seed ${seed}`);
  const image = join(workFolder(t), 'image');
  const places = [0, 1, 2, 15, 16, 17, 2046, 2047, 2048, 2100];
  const pick = fc.array(fc.tuple(fc.constantFrom(...places), fc.nat(3)), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(pick, pick, fc.constantFrom(2101, 2048, 17, 1), async (first, second, endBlock) => {
      const dir = workFolder(t);
      writeImage(image, 2101 * BLOCK_BYTES, new Map(first));
      const parent = await importImage({ dir, imagePath: image });
      const kept = new Map(second.filter(([index]) => index < endBlock));
      writeImage(image, endBlock * BLOCK_BYTES, kept);
      const child = await importImage({ dir, imagePath: image, parent });
      const before = new Map([...new Map(first)].filter(([, n]) => n !== 0));
      const expected: Record<number, number> = {};
      let own = 0;
      for (const index of places) {
        const [old, now] = [before.get(index), kept.get(index) ?? 0];
        if (old !== undefined || now !== 0) expected[index] = now;
        if ((old ?? 0) !== now) own += 1;
      }
      const found = await look(dir, child);
      return JSON.stringify(found) === JSON.stringify({ contents: expected, own });
    }),
    { seed, numRuns: 15 },
  );
});

t.test('a synthetic parent, and zeros of the parent that stay zeros', async (t) => {
  const dir = workFolder(t);
  const image = join(workFolder(t), 'image');
  const synth = await createSynth({ dir, volumeSizeGib: 1, fill: 0.01 });
  const folder = await openFolder(dir);
  const view = await folder.registry.readableView(synth);
  const page = await view.page(0);
  const indexes = Array.from({ length: page!.rowCount }, (_, row) => page!.blockIndexAt(row));
  t.equal(indexes.length, 20);
  // An image that is like the parent, but for its second block and one that the parent has not.
  const fd = openSync(image, 'w');
  for (const index of indexes) {
    if (index === indexes[1]) continue;
    const contents = await folder.registry.readBlock(view, index);
    writeSync(fd, Buffer.concat(contents!.pieces), 0, BLOCK_BYTES, index * BLOCK_BYTES);
  }
  const free = [0, 1, 2, 3].find((index) => !indexes.includes(index))!;
  writeSync(fd, numberedBlock(1).bytes, 0, BLOCK_BYTES, free * BLOCK_BYTES);
  ftruncateSync(fd, 2 ** 30);
  closeSync(fd);
  await folder.close();
  const child = await importImage({ dir, imagePath: image, parent: synth });
  const { contents, own } = await look(dir, child);
  t.equal(own, 2);
  t.equal(contents[indexes[1]!], 0);
  t.equal(contents[free], 1);
  t.equal(Object.keys(contents).length, 21);
  const grandchild = await importImage({ dir, imagePath: image, parent: child });
  t.equal((await look(dir, grandchild)).own, 0, 'nothing differs any more');
});

t.test('progress goes up to the whole image', async (t) => {
  const dir = workFolder(t);
  const image = join(workFolder(t), 'image');
  writeImage(
    image,
    50 * BLOCK_BYTES + 3,
    new Map(Array.from({ length: 51 }, (_, index) => [index, 1 + (index % 4)])),
  );
  const seen: ImportProgress[] = [];
  await importImage({ dir, imagePath: image, onProgress: (progress) => seen.push(progress) });
  t.ok(seen.every((progress, at) => at === 0 || progress.doneBytes >= seen[at - 1]!.doneBytes));
  t.strictSame(seen.at(-1), {
    doneBytes: 50 * BLOCK_BYTES + 3,
    totalBytes: 50 * BLOCK_BYTES + 3,
    storedBlockCount: 51,
  });
});

t.test('what cannot be imported: one clear line, and no trace', async (t) => {
  const dir = workFolder(t);
  const files = workFolder(t);
  writeFileSync(join(files, 'empty'), '');
  mkdirSync(join(files, 'folder'));
  writeFileSync(join(files, 'huge'), '');
  // Most file systems have no files of that size.
  const hasHuge = spawnSync('truncate', ['-s', String(64 * 2 ** 40 + 1), join(files, 'huge')]).status === 0;
  writeFileSync(join(files, 'fine'), 'x');
  const pendingId = 'snap-00000000000000000';
  const tries: [string, string | undefined, RegExp][] = [
    ['missing', undefined, /^Cannot read the image .*missing: no such file\.$/],
    ['empty', undefined, /^Cannot import .*empty: it is empty\.$/],
    ['folder', undefined, /^Cannot (?:import|read) .*folder: /],
    ['huge', undefined, hasHuge ? /volumes end at 64 TiB/ : /it is empty/],
    ['fine', pendingId, /^Cannot use snap-0+ as parent: there is no such snapshot in this folder\.$/],
    ['fine', 'nonsense', /no such snapshot/],
  ];
  for (const [name, parent, message] of tries) {
    const options = parent === undefined ? {} : { parent };
    await t.rejects(importImage({ dir, imagePath: join(files, name), ...options }), { message }, name);
  }
  await t.rejects(importImage({ dir, imagePath: '/dev/null' }), {
    message: /neither a file nor a block device/,
  });
  const controller = new AbortController();
  const stopped = importImage({
    dir,
    imagePath: join(files, 'fine'),
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('stopped')),
  });
  await stopped.catch(() => undefined);
  controller.abort();
  await t.rejects(
    importImage({ dir, imagePath: join(files, 'fine'), signal: AbortSignal.abort(new Error('stop')) }),
    {
      message: 'stop',
    },
  );
  t.strictSame(readdirSync(join(dir, 'tmp')), []);
});

t.test(
  'a block device is an image like any other',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const image = join(workFolder(t), 'image');
    writeImage(
      image,
      30 * BLOCK_BYTES + 512,
      new Map([
        [30, 2],
        [3, 1],
      ]),
    );
    const attached = await runProgram('losetup', ['--find', '--show', '--read-only', image]);
    if (attached.status !== 0) {
      t.pass(`no loop devices here: ${attached.stderr.trim()}`);
      return;
    }
    const device = attached.stdout.trim();
    t.teardown(() => runProgram('losetup', ['--detach', device]));
    const dir = workFolder(t);
    const snapshotId = await importImage({ dir, imagePath: device });
    const { contents } = await look(dir, snapshotId);
    t.strictSame(Object.keys(contents), ['3', '30']);
    t.equal(contents[3], 1);
  },
);
