/** Table 4: memory, start-up and first read from 1 GiB to 64 TiB. `npx tsx bench/scale.ts --help` says how. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createSynth } from '../src/emulator/synth/create-synth.js';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Row, type Sample } from './harness.js';
import { temporaryFolder } from './harness-process.js';
import { startEmulator, startServer } from './scale-services.js';

const HELP = `Usage: npx tsx bench/scale.ts [--repeats N] [--reads N] [--only TEXT]... [--merge] [--no-results]

Needs python3 with libnbd (/usr/bin/python3 -m nbd). --reads is how many reads of 4 KiB are spread over the disks before
memory is looked at (default: 1000).`;

const CACHE_MIB = 64;
const PYTHON = '/usr/bin/python3';
const DEFAULT_READS = 1000;
const MIB = 2 ** 20;

/** Prints the milliseconds of the first read, and of each later one at 16 in flight. */
const READER = `
import nbd, random, sys, time
reads, connections, uris = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
r = random.Random(7)
handles = []
for i in range(connections):
    h = nbd.NBD()
    h.connect_uri(uris[i * max(1, len(uris) // connections) % len(uris)])
    handles.append(h)
size = handles[0].get_size()
at = lambda: r.randrange(size // 4096) * 4096
began = time.time()
handles[0].pread(4096, at())
first = time.time() - began
began = time.time()
for start in range(0, reads, 16):
    waiting = []
    for i in range(start, start + 16):
        h = handles[i % connections]
        waiting.append((h, h.aio_pread(nbd.Buffer(4096), at())))
    for h, cookie in waiting:
        while not h.aio_command_completed(cookie): h.poll(-1)
print(first * 1000, (time.time() - began) * 1000 / reads)
`;

interface Scale {
  readonly name: string;
  readonly volumeSizeGib: number;
  readonly fill: number;
  readonly exportCount: number;
  readonly connectionCount: number;
}

const SIZES = [
  { text: '1 GiB', volumeSizeGib: 1 },
  { text: '1 TiB', volumeSizeGib: 1024 },
  { text: '64 TiB', volumeSizeGib: 65_536 },
] as const;

const SCALES: readonly Scale[] = [
  ...SIZES.flatMap(({ text, volumeSizeGib }) =>
    [1, 0.01].map((fill) => ({
      name: `${text}, ${fill === 1 ? 'full' : 'sparse'}`,
      volumeSizeGib,
      fill,
      exportCount: 1,
      connectionCount: 1,
    })),
  ),
  {
    name: '64 TiB, full, 100 connections',
    volumeSizeGib: 65_536,
    fill: 1,
    exportCount: 1,
    connectionCount: 100,
  },
  {
    name: '64 TiB, full, 1000 exports',
    volumeSizeGib: 65_536,
    fill: 1,
    exportCount: 1000,
    connectionCount: 1,
  },
  {
    name: '64 TiB, full, 1000 exports, 100 connections',
    volumeSizeGib: 65_536,
    fill: 1,
    exportCount: 1000,
    connectionCount: 100,
  },
];

const { values } = parseArgs({
  options: { ...TABLE_OPTIONS, reads: { type: 'string' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  const reads = Number(values.reads ?? DEFAULT_READS);
  try {
    await runTable(
      {
        name: 'scale',
        title: 'Scale: memory, start-up and first read',
        rows: SCALES.map((scale) => rowOf(scale, folder.path, reads)),
        versions: { node: process.version },
        notes: [
          `Resident memory after ${reads} reads of 4 KiB at random, less the ${CACHE_MIB} MiB of --cache-memory. Each export is a snapshot of its own.`,
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    folder.remove();
  }
}

function rowOf(scale: Scale, folder: string, reads: number): Row {
  const store = join(folder, scale.name.replaceAll(/[ ,]+/g, '-'));
  const ids: string[] = [];
  return {
    name: scale.name,
    unit: 'MiB above the bound',
    isLowerBetter: true,
    setUp: async () => {
      const { volumeSizeGib, fill, exportCount } = scale;
      while (ids.length < exportCount) {
        ids.push(await createSynth({ dir: store, volumeSizeGib, fill, seed: ids.length + 1 }));
      }
    },
    contenders: [{ name: 'snapnbd', measure: () => measure(scale, store, ids, reads) }],
  };
}

async function measure(scale: Scale, store: string, ids: readonly string[], reads: number): Promise<Sample> {
  const emulator = await startEmulator(store);
  try {
    const options = ['--endpoint-url', emulator.url, '--cache-memory', `${CACHE_MIB}MiB`];
    const { program, uris, readyMs } = await startServer(ids, `${store}.sock`, options);
    try {
      const args = ['-c', READER, String(reads), String(scale.connectionCount), ...uris];
      const { stdout } = await promisify(execFile)(PYTHON, args);
      const [firstReadMs = Number.NaN, readMs = Number.NaN] = stdout.trim().split(' ').map(Number);
      const { gets, lists } = await emulator.takeUse();
      const extras = {
        'ready ms': readyMs,
        'first read ms': firstReadMs,
        'ms a read': readMs,
        Gets: gets,
        Lists: lists,
      };
      return { value: program.residentBytes() / MIB - CACHE_MIB, extras };
    } finally {
      await program.stop();
    }
  } finally {
    await emulator.stop();
  }
}
