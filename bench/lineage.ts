/** Table 7: thirty daily snapshots read whole, one after another. `npx tsx bench/lineage.ts --help` says how. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createHash, randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { importImage } from '../src/emulator/import/import-image.js';
import { versionOf } from './harness-machine.js';
import { runProgram, temporaryFolder } from './harness-process.js';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Row, type Sample } from './harness.js';
import { startEmulator, startServer } from './scale-services.js';

const HELP = `Usage: npx tsx bench/lineage.ts [--repeats N] [--days N] [--blocks N] [--only TEXT]... [--no-results]

Needs nbdcopy. --blocks is how many blocks of 512 KiB the volume has data in (default: 512), --days how many snapshots there
are (default: 30); each differs from the one before in a part in fifty of them, drawn at random.`;

const BLOCK_BYTES = 524_288;
const VOLUME_BYTES = 2 ** 30;
const CHANGED_PART = 0.02;
/** None, where all that counts is work; and about what EBS has. */
const LATENCIES_MS = [0, 30];

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    days: { type: 'string' },
    blocks: { type: 'string' },
    help: { type: 'boolean' },
  },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  try {
    const days = Number(values.days ?? 30);
    const blocks = Number(values.blocks ?? 512);
    const made = await makeDays(folder.path, days, blocks);
    const rowAt = (latencyMs: number): Row => {
      const measure = (options: readonly string[]) => (): Promise<Sample> =>
        measureDays(folder.path, made, latencyMs, options);
      return {
        name: `${days} snapshots of ${blocks} blocks, ${made.distinctBlocks} of them distinct, ${latencyMs} ms a call`,
        unit: 'Gets for each distinct block',
        isLowerBetter: true,
        contenders: [
          { name: 'snapnbd', measure: measure([]) },
          { name: 'snapnbd --lineage off', measure: measure(['--lineage', 'off']) },
        ],
      };
    };
    await runTable(
      {
        name: 'lineage',
        title: `Lineage: ${days} daily snapshots, ${CHANGED_PART * 100} % changed a day, read whole one after another`,
        rows: LATENCIES_MS.map(rowAt),
        versions: { nbdcopy: versionOf('nbdcopy') ?? 'missing' },
        notes: [
          'One server with a cold --cache-dir, nbdcopy for each snapshot, the oldest first. Calls as the emulator counted them, Lists of both kinds; dollars by the prices of us-east-1. The last snapshot is compared with its image. Most of the seconds go into the SHA-256 of each block, which both compute once for each that is read; a client that asks for enough at once does not wait for calls.',
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    folder.remove();
  }
}

interface Days {
  readonly store: string;
  /** The oldest first. */
  readonly ids: readonly string[];
  readonly distinctBlocks: number;
  /** SHA-256 of the newest one's image. */
  readonly digest: string;
}

async function makeDays(folder: string, days: number, blocks: number): Promise<Days> {
  const store = join(folder, 'emulator');
  const image = join(folder, 'image');
  const file = openSync(image, 'w');
  ftruncateSync(file, VOLUME_BYTES);
  const step = Math.floor(VOLUME_BYTES / BLOCK_BYTES / blocks);
  const write = (block: number): void => {
    writeSync(file, randomFillSync(Buffer.alloc(BLOCK_BYTES)), 0, BLOCK_BYTES, block * step * BLOCK_BYTES);
  };
  for (let block = 0; block < blocks; block += 1) write(block);
  const ids = [await importImage({ dir: store, imagePath: image })];
  let distinctBlocks = blocks;
  while (ids.length < days) {
    const changed = new Set<number>();
    while (changed.size < Math.round(blocks * CHANGED_PART)) changed.add(Math.floor(Math.random() * blocks));
    for (const block of changed) write(block);
    distinctBlocks += changed.size;
    ids.push(await importImage({ dir: store, imagePath: image, parent: ids.at(-1) ?? '' }));
  }
  closeSync(file);
  const digest = digestOf(image);
  rmSync(image);
  return { store, ids, distinctBlocks, digest };
}

async function measureDays(
  folder: string,
  days: Days,
  latencyMs: number,
  options: readonly string[],
): Promise<Sample> {
  const emulator = await startEmulator(days.store, ['--latency-ms', String(latencyMs)]);
  const cache = join(folder, 'cache');
  try {
    mkdirSync(cache, { mode: 0o700 });
    const cacheOptions = ['--cache-dir', cache, '--cache-memory', '64MiB'];
    const server = await startServer(days.ids, join(folder, 's'), [
      '--endpoint-url',
      emulator.url,
      ...cacheOptions,
      ...options,
    ]);
    const startMs = performance.now();
    const copy = join(folder, 'copy');
    try {
      for (const uri of server.uris.slice(0, -1)) await runProgram('nbdcopy', [uri, 'null:']);
      await runProgram('nbdcopy', [server.uris.at(-1) ?? '', copy]);
    } finally {
      await server.program.stop();
    }
    if (digestOf(copy) !== days.digest) throw new Error('The newest snapshot has other bytes.');
    const seconds = (performance.now() - startMs) / 1000;
    const { gets, lists, usd } = await emulator.takeUse();
    const extras = { Gets: gets, Lists: lists, microdollars: usd * 1e6, seconds };
    return { value: gets / days.distinctBlocks, extras };
  } finally {
    rmSync(cache, { recursive: true, force: true });
    await emulator.stop();
  }
}

function digestOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
