/** Table 3: mount a file system on a large snapshot and read one file. `npx tsx bench/first-byte.ts --help` says how. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, ftruncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { execFileSync } from 'node:child_process';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Sample } from './harness.js';
import { versionOf } from './harness-machine.js';
import { compiledCli, runProgram, startProgram, temporaryFolder } from './harness-process.js';
import { startEmulator, startServer, type Emulator } from './scale-services.js';

const HELP = `Usage: npx tsx bench/first-byte.ts [--repeats N] [--only TEXT]... [--no-results]

Needs mke2fs, nbdfuse and nbdcopy, and to be root, for the loop mount. Takes some 20 s for each repeat.`;

const VOLUME_BYTES = 100 * 2 ** 30;
const FILES = 20_000;
const FILES_PER_FOLDER = 200;
const LATENCY_MS = 50;
/** Somewhere in the middle of them. */
const READ_FILE = 'd57/f11423';

const { values } = parseArgs({ options: { ...TABLE_OPTIONS, help: { type: 'boolean' } } });
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  const store = join(folder.path, 'emulator');
  const image = join(folder.path, 'image');
  let emulator: Emulator | undefined;
  try {
    makeFileSystem(join(folder.path, 'tree'), image);
    const args = ['emulator', 'import', '--dir', store, image];
    const id = execFileSync(process.execPath, [compiledCli(), ...args], { encoding: 'utf8' }).trim();
    rmSync(image);
    const running = (emulator = await startEmulator(store, ['--latency-ms', String(LATENCY_MS)]));
    const expected = contentOf(READ_FILE);
    const cacheDir = join(folder.path, 'cache');
    const cacheOptions = ['--cache-dir', cacheDir, '--cache-size', '2GiB'];
    const mounted = (options: readonly string[]): Promise<Sample> =>
      measureMounted(id, running, folder.path, expected, options);
    await runTable(
      {
        name: 'first-byte',
        title: `First byte: mount a file system of ${FILES} files on 100 GiB and read one`,
        rows: [
          {
            name: `mount and read one file, ${LATENCY_MS} ms a call`,
            unit: 's',
            isLowerBetter: true,
            contenders: [
              { name: 'snapnbd, mounted by nbdfuse', measure: () => mounted([]) },
              {
                name: 'snapnbd, again after a restart with --cache-dir',
                measure: async () => {
                  rmSync(cacheDir, { recursive: true, force: true });
                  await mounted(cacheOptions);
                  return mounted(cacheOptions);
                },
              },
              {
                name: 'download all of it with nbdcopy, then mount',
                measure: () => measureDownloaded(id, running, folder.path, expected),
              },
            ],
          },
        ],
        versions: {
          nbdfuse: versionOf('nbdfuse') ?? 'missing',
          nbdcopy: versionOf('nbdcopy') ?? 'missing',
          mke2fs: versionOf('mke2fs', ['-V']) ?? 'missing',
        },
        notes: [
          'From the start of the server to the last byte of the file. Calls as the emulator counted them; dollars by the prices of us-east-1. Each call answers after the latency, and no quota is set.',
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    await emulator?.stop();
    folder.remove();
  }
}

/** Files of up to 20 KiB in folders of 200, in a sparse image of the whole volume. */
function makeFileSystem(tree: string, image: string): void {
  for (let number = 0; number < FILES; number += 1) {
    const name = `d${Math.floor(number / FILES_PER_FOLDER)}/f${number}`;
    if (number % FILES_PER_FOLDER === 0) mkdirSync(join(tree, name, '..'), { recursive: true });
    writeFileSync(join(tree, name), contentOf(name));
  }
  const file = openSync(image, 'w');
  ftruncateSync(file, VOLUME_BYTES);
  closeSync(file);
  const options = ['-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=1', '-d', tree, image];
  execFileSync('mke2fs', options, {
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/sbin:/usr/sbin` },
  });
  rmSync(tree, { recursive: true });
}

function contentOf(name: string): Buffer {
  const number = Number(/\d+$/.exec(name)?.[0]);
  return Buffer.alloc(1 + ((number * 7919) % 20_480), `${name} `);
}

async function measureMounted(
  id: string,
  emulator: Emulator,
  folder: string,
  expected: Buffer,
  options: readonly string[],
): Promise<Sample> {
  await emulator.takeUse();
  const startMs = performance.now();
  const server = await startServer([id], join(folder, 's'), ['--endpoint-url', emulator.url, ...options]);
  const fuse = join(folder, 'fuse');
  mkdirSync(fuse, { recursive: true });
  const disk = join(fuse, 'nbd');
  const nbdfuse = startProgram('nbdfuse', ['-r', disk, server.uris[0] ?? '']);
  try {
    await untilThere(disk);
    await readMounted(disk, folder, expected);
  } finally {
    await runProgram('fusermount3', ['-u', fuse]).catch(() => nbdfuse.stop());
    await nbdfuse.ended.catch(() => undefined);
  }
  const value = (performance.now() - startMs) / 1000;
  await server.program.stop();
  return { value, extras: await useOf(emulator) };
}

async function measureDownloaded(
  id: string,
  emulator: Emulator,
  folder: string,
  expected: Buffer,
): Promise<Sample> {
  await emulator.takeUse();
  const startMs = performance.now();
  const server = await startServer([id], join(folder, 's'), ['--endpoint-url', emulator.url]);
  const copy = join(folder, 'copy');
  try {
    await runProgram('nbdcopy', [server.uris[0] ?? '', copy]);
    await readMounted(copy, folder, expected);
  } finally {
    rmSync(copy, { force: true });
    await server.program.stop();
  }
  return { value: (performance.now() - startMs) / 1000, extras: await useOf(emulator) };
}

async function useOf(emulator: Emulator): Promise<Record<string, number>> {
  const { gets, lists, distinctBlocks, usd } = await emulator.takeUse();
  return { Gets: gets, 'distinct blocks': distinctBlocks, Lists: lists, microdollars: usd * 1e6 };
}

/** Mounts a disk that is a file, reads the one file and compares it. */
async function readMounted(disk: string, folder: string, expected: Buffer): Promise<void> {
  const mount = join(folder, 'mount');
  mkdirSync(mount, { recursive: true });
  await runProgram('mount', ['-o', 'loop,ro,noload', disk, mount]);
  try {
    if (!readFileSync(join(mount, READ_FILE)).equals(expected)) throw new Error('The file has other bytes.');
  } finally {
    await runProgram('umount', [mount]);
  }
}

/** nbdfuse shows its disk when it is connected. */
async function untilThere(path: string): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    try {
      closeSync(openSync(path, 'r'));
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error(`${path} does not appear.`);
}
