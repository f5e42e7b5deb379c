/** Table 8: mount and read of a fixed set of files on a cold cache. `npx tsx bench/boot-profile.ts --help` says how. */
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { importImage } from '../src/emulator/import/import-image.js';
import { versionOf } from './harness-machine.js';
import { compiledCli, runProgram, startProgram, temporaryFolder } from './harness-process.js';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Sample } from './harness.js';
import { startEmulator, startServer, type Emulator } from './scale-services.js';

const HELP = `Usage: npx tsx bench/boot-profile.ts [--repeats N] [--files N] [--latency-ms N] [--only TEXT]... [--no-results]

Needs nbdfuse, mkfs.ext4 and root, for loop mounts. --files (default: 3000) of 4 to 64 KiB lie in 500 folders all over an ext4
volume of 64 GiB. The volume is mounted and all of them are read whole, one after another, in an order that has nothing to do
with where they lie, each call of the API at --latency-ms (default: 50).`;

const VOLUME_GIB = 64;
const FOLDERS = 500;
const PAGE_BYTES = 4096;

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    files: { type: 'string' },
    'latency-ms': { type: 'string' },
    help: { type: 'boolean' },
  },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  const files = Number(values.files ?? '3000');
  const latencyMs = values['latency-ms'] ?? '50';
  let emulator: Emulator | undefined;
  try {
    const store = join(folder.path, 'emulator');
    const id = await makeVolume(folder.path, store, files);
    const running = (emulator = await startEmulator(store, ['--latency-ms', latencyMs]));
    const boot = (profile: string, shipped?: string): Promise<Sample> =>
      measure({ id, emulator: running, folder: folder.path, files, profile, shipped });
    // What the first boot leaves behind, once.
    const shipped = join(folder.path, 'profile.json');
    await boot('save', shipped);
    await runTable(
      {
        name: 'boot-profile',
        title: `Boot: mount, and ${files} files read one after another, ${latencyMs} ms a call, cold cache`,
        rows: [
          {
            name: `mount and ${files} files of 4 to 64 KiB`,
            unit: 's',
            isLowerBetter: true,
            contenders: [
              { name: 'snapnbd --profile use', measure: () => boot('use', shipped) },
              { name: 'snapnbd --profile off', measure: () => boot('off', shipped) },
            ],
          },
        ],
        versions: { node: process.version, nbdfuse: versionOf('nbdfuse') ?? 'missing' },
        notes: [
          `An ext4 volume of ${VOLUME_GIB} GiB, by nbdfuse and a loop mount of the kernel. The profile comes from one earlier boot, by \`snapnbd profile export\` and \`import\` into a disk cache that is empty otherwise. Unread: Gets beyond the blocks that the kernel read in that earlier boot, of all Gets.`,
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    await emulator?.stop();
    folder.remove();
  }
}

function pathOf(file: number): string {
  return join(`d${file % FOLDERS}`, `f${file}`);
}

/** A volume whose files the kernel has put where it puts them. */
async function makeVolume(folder: string, store: string, files: number): Promise<string> {
  const image = join(folder, 'image');
  const root = join(folder, 'made');
  mkdirSync(root);
  writeFileSync(image, '');
  truncateSync(image, VOLUME_GIB * 2 ** 30);
  await runProgram('mkfs.ext4', [
    '-q',
    '-F',
    '-O',
    '^flex_bg',
    '-E',
    'lazy_itable_init=1,lazy_journal_init=1',
    image,
  ]);
  await runProgram('mount', ['-o', 'loop,noinit_itable', image, root]);
  try {
    for (let at = 0; at < FOLDERS; at += 1) mkdirSync(join(root, `d${at}`));
    for (let file = 0; file < files; file += 1) {
      const bytes = Buffer.alloc(PAGE_BYTES * (1 + (file % 16)));
      writeFileSync(join(root, pathOf(file)), randomFillSync(bytes));
    }
  } finally {
    execFileSync('umount', [root]);
  }
  const id = await importImage({ dir: store, imagePath: image });
  rmSync(image);
  return id;
}

interface Boot {
  readonly id: string;
  readonly emulator: Emulator;
  readonly folder: string;
  readonly files: number;
  /** Of the server's option. */
  readonly profile: string;
  /** The file of a shipped profile: written after a boot that saves one, taken in before one that uses it. */
  readonly shipped: string | undefined;
}

async function measure({ id, emulator, folder, files, profile, shipped = '' }: Boot): Promise<Sample> {
  const cache = join(folder, 'cache');
  mkdirSync(cache, { mode: 0o700 });
  const place = ['--cache-dir', cache, '--endpoint-url', emulator.url, '--region', 'us-east-1'];
  const ship = (...args: readonly string[]): Promise<unknown> =>
    runProgram(process.execPath, [compiledCli(), 'profile', ...args, ...place]);
  try {
    if (profile === 'use') await ship('import', shipped);
    await emulator.takeUse();
    const server = await startServer([id], join(folder, 's'), [...place, '--profile', profile]);
    let seconds: number;
    try {
      seconds = await mountAndRead(folder, server.uris[0] ?? '', files);
    } finally {
      await server.program.stop();
    }
    if (profile === 'save') await ship('export', id, shipped);
    const { blocks } = JSON.parse(readFileSync(shipped, 'utf8')) as { blocks: readonly unknown[] };
    const { gets, distinctBlocks, usd } = await emulator.takeUse();
    const unread = (100 * Math.max(0, gets - blocks.length)) / gets;
    return {
      value: seconds,
      extras: { Gets: gets, distinct: distinctBlocks, '% unread': unread, microdollars: usd * 1e6 },
    };
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

/** @returns the seconds from the mount to the last byte. */
async function mountAndRead(folder: string, uri: string, files: number): Promise<number> {
  const [fuse, root] = [join(folder, 'fuse'), join(folder, 'mounted')];
  for (const path of [fuse, root]) mkdirSync(path, { recursive: true });
  const disk = join(fuse, 'disk');
  const program = startProgram('nbdfuse', ['-r', disk, uri]);
  try {
    while (!existsSync(disk)) await Promise.race([sleep(20), program.ended]);
    const startMs = performance.now();
    await runProgram('mount', ['-o', 'ro,noload,loop', disk, root]);
    try {
      // 7919 is a prime: all files, far from each other.
      for (let at = 0; at < files; at += 1) {
        const file = (at * 7919) % files;
        const { length } = await readFile(join(root, pathOf(file)));
        if (length !== PAGE_BYTES * (1 + (file % 16))) throw new Error(`File ${file} has ${length} bytes.`);
      }
      return (performance.now() - startMs) / 1000;
    } finally {
      await runProgram('umount', [root]);
    }
  } finally {
    await letGo(fuse);
    await program.ended;
  }
}

/** The kernel lets go of a loop device a little later than of what was mounted on it. */
async function letGo(path: string): Promise<void> {
  for (let triesLeft = 50; ; triesLeft -= 1) {
    try {
      await runProgram('umount', [path]);
      return;
    } catch (error) {
      if (triesLeft === 0) throw error;
      await sleep(100);
    }
  }
}
