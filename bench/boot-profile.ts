/** Table 8: a boot-like trace of scattered reads on a cold cache. `npx tsx bench/boot-profile.ts --help` says how. */
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createSynth } from '../src/emulator/synth/create-synth.js';
import { compiledCli, runProgram, temporaryFolder } from './harness-process.js';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Sample } from './harness.js';
import { startEmulator, startServer, type Emulator } from './scale-services.js';

const HELP = `Usage: npx tsx bench/boot-profile.ts [--repeats N] [--reads N] [--latency-ms N] [--only TEXT]... [--no-results]

Needs python3 with libnbd (/usr/bin/python3 -m nbd). The trace is the same each time: --reads reads (default: 3000) of 4 to 64
KiB, one after another, scattered over 100 GiB, each call at --latency-ms (default: 50).`;

const PYTHON = '/usr/bin/python3';
const VOLUME_GIB = 100;

/** Reads the trace, and prints the seconds that it took. */
const READER = `
import nbd, random, sys, time
reads, uri = int(sys.argv[1]), sys.argv[2]
r = random.Random(11)
h = nbd.NBD()
h.connect_uri(uri)
size = h.get_size()
began = time.time()
for i in range(reads):
    length = 4096 * r.randrange(1, 17)
    h.pread(length, r.randrange((size - length) // 4096) * 4096)
print(time.time() - began)
`;

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    reads: { type: 'string' },
    'latency-ms': { type: 'string' },
    help: { type: 'boolean' },
  },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  const reads = values.reads ?? '3000';
  const latencyMs = values['latency-ms'] ?? '50';
  const store = join(folder.path, 'emulator');
  let emulator: Emulator | undefined;
  try {
    const id = await createSynth({ dir: store, volumeSizeGib: VOLUME_GIB, fill: 0.5, seed: 5 });
    const running = (emulator = await startEmulator(store, ['--latency-ms', latencyMs]));
    const profile = join(folder.path, 'profile.json');
    const trace = (options: readonly string[], ships = false): Promise<Sample> =>
      measure({ id, emulator: running, folder: folder.path, reads, options, profile, ships });
    // What the first boot leaves behind, once.
    await trace(['--profile', 'save'], true);
    await runTable(
      {
        name: 'boot-profile',
        title: `Boot: ${reads} scattered reads, one after another, ${latencyMs} ms a call, cold cache`,
        rows: [
          {
            name: `${reads} reads of 4 to 64 KiB`,
            unit: 's',
            isLowerBetter: true,
            contenders: [
              { name: 'snapnbd --profile use', measure: () => trace(['--profile', 'use'], true) },
              { name: 'snapnbd --profile off', measure: () => trace(['--profile', 'off']) },
            ],
          },
        ],
        versions: { node: process.version },
        notes: [
          'The profile comes from one earlier run, by `snapnbd profile export` and `import` into a disk cache that is empty otherwise. Unread: blocks that were fetched beyond those of the trace.',
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    await emulator?.stop();
    folder.remove();
  }
}

interface Measurement {
  readonly id: string;
  readonly emulator: Emulator;
  readonly folder: string;
  readonly reads: string;
  readonly options: readonly string[];
  /** A profile as it is shipped. */
  readonly profile: string;
  /** Takes the profile in before, or writes it after `--profile save`. */
  readonly ships: boolean;
}

async function measure(task: Measurement): Promise<Sample> {
  const { id, emulator, folder, reads, options, profile, ships } = task;
  const cache = join(folder, 'cache');
  mkdirSync(cache, { mode: 0o700 });
  const place = ['--cache-dir', cache, '--endpoint-url', emulator.url, '--region', 'us-east-1'];
  const ship = (...args: readonly string[]): Promise<unknown> =>
    runProgram(process.execPath, [compiledCli(), 'profile', ...args, ...place]);
  try {
    const saves = options.includes('save');
    if (ships && !saves) await ship('import', profile);
    await emulator.takeUse();
    const server = await startServer([id], join(folder, 's'), [...place, ...options]);
    let text: string;
    try {
      const args = ['-c', READER, reads, server.uris[0] ?? ''];
      text = (await promisify(execFile)(PYTHON, args)).stdout;
    } finally {
      await server.program.stop();
    }
    if (ships && saves) await ship('export', id, profile);
    const { gets, distinctBlocks, usd } = await emulator.takeUse();
    return { value: Number(text), extras: { Gets: gets, distinct: distinctBlocks, microdollars: usd * 1e6 } };
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}
