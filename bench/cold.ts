// Table 2: a whole snapshot is copied once, at several quotas.
// `npx tsx bench/cold.ts [--size 4] [--repeats 5] [--only TEXT [--merge]] [--limits-only]`
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTable, tableOptionsOf, TABLE_OPTIONS, type Contender, type Row, type Sample } from './harness.js';
import { versionOf } from './harness-machine.js';
import { compiledCli, runProgram, startProgram, temporaryFolder, type Program } from './harness-process.js';

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    size: { type: 'string', default: '4' },
    latency: { type: 'string', default: '30' },
    /** Leaves nbdkit out, which takes a minute and more for each GiB. */
    'limits-only': { type: 'boolean', default: false },
  },
});
const sizeGib = Number(values.size);
const blockCount = sizeGib * 2048;
const QUOTAS = [200, 500, 1000];
const KEYS = { AWS_ACCESS_KEY_ID: 'AKIABENCH', AWS_SECRET_ACCESS_KEY: 'bench' };
// boto3 has a variable of its own for the region.
const REGION = { AWS_REGION: 'us-east-1', AWS_DEFAULT_REGION: 'us-east-1' };
const ENV = { ...KEYS, ...REGION, AWS_EC2_METADATA_DISABLED: 'true' };

const folder = temporaryFolder();
const store = join(folder.path, 'emulator');
let emulator: Program | undefined;
let endpoint = '';

async function synth(): Promise<string> {
  const args = [compiledCli(), 'emulator', 'synth', '--dir', store, '--size', `${sizeGib}GiB`];
  const program = startProgram(process.execPath, args);
  const [id = ''] = await program.lines(1);
  await program.ended;
  return id;
}

async function startService(quota: number | undefined): Promise<void> {
  const limits = quota === undefined ? [] : ['--get-rate', String(quota)];
  const faults = ['--latency-ms', values.latency, ...limits];
  const args = [compiledCli(), 'emulator', 'serve', '--dir', store, '--listen', '127.0.0.1:0', ...faults];
  emulator = startProgram(process.execPath, args);
  [endpoint = ''] = await emulator.lines(1);
}

interface Operation {
  readonly requests: number;
}

async function getCount(): Promise<number> {
  const answer = await fetch(`${endpoint}/_emulator/stats`);
  const stats = (await answer.json()) as { operations: { GetSnapshotBlock: Operation } };
  return stats.operations.GetSnapshotBlock.requests;
}

/** Copies the disk of a server to nowhere. `cpu` gives the CPU seconds of the server so far. */
async function copy(uri: string, cpu: () => number): Promise<Sample> {
  const startCpu = cpu();
  const startGets = await getCount();
  const serviceCpu = emulator?.cpuSeconds() ?? 0;
  const { wallSeconds } = await runProgram('nbdcopy', [uri, 'null:']);
  return sampleOf(wallSeconds, cpu() - startCpu, startGets, serviceCpu);
}

async function sampleOf(wallSeconds: number, cpuSeconds: number, gets: number, cpu: number): Promise<Sample> {
  return {
    value: blockCount / wallSeconds,
    extras: {
      'CPU s/GiB': cpuSeconds / sizeGib,
      'Gets made / blocks': ((await getCount()) - gets) / blockCount,
      'emulator CPU s/GiB': ((emulator?.cpuSeconds() ?? 0) - cpu) / sizeGib,
    },
  };
}

function snapnbd(snapshot: string): Contender {
  return {
    name: 'snapnbd serve, nbdcopy',
    measure: async () => {
      const socket = join(folder.path, 'snapnbd.sock');
      const args = [
        compiledCli(),
        'serve',
        snapshot,
        '--endpoint-url',
        endpoint,
        '--listen',
        `unix:${socket}`,
      ];
      const server = startProgram(process.execPath, args, ENV);
      try {
        const [uri = ''] = await server.lines(1);
        return await copy(uri, () => server.cpuSeconds());
      } finally {
        await server.stop();
      }
    },
  };
}

function bare(snapshot: string, quota: number | undefined, hashes: boolean): Contender {
  return {
    name: hashes ? 'http.get and SHA-256' : 'http.get',
    measure: async () => {
      const args = ['--import', 'tsx', join(import.meta.dirname, 'cold-bare.ts'), '--endpoint', endpoint];
      const more = [
        ...(quota === undefined ? [] : ['--rate', String(quota)]),
        ...(hashes ? ['--sha256'] : []),
      ];
      const gets = await getCount();
      const cpu = emulator?.cpuSeconds() ?? 0;
      const program = startProgram(process.execPath, [...args, '--snapshot', snapshot, ...more]);
      const [line = ''] = await program.lines(1);
      await program.ended;
      const { wallSeconds, cpuSeconds } = JSON.parse(line) as { wallSeconds: number; cpuSeconds: number };
      return sampleOf(wallSeconds, cpuSeconds, gets, cpu);
    },
  };
}

function nbdkit(snapshot: string): Contender {
  return {
    name: 'nbdkit, boto3, readahead, cache, nbdcopy',
    measure: async () => {
      const socket = join(folder.path, `nbdkit-${Date.now()}.sock`);
      const plugin = join(import.meta.dirname, 'rivals', 'ebs.py');
      const filters = ['--filter=readahead', '--filter=cache', 'python', plugin];
      const parameters = [`endpoint=${endpoint}`, `snapshot=${snapshot}`, 'cache-min-block-size=512K'];
      const server = startProgram('nbdkit', ['-f', '-U', socket, ...filters, ...parameters], ENV);
      try {
        const uri = `nbd+unix:///?socket=${socket}`;
        await untilReady(uri);
        return await copy(uri, () => server.cpuSeconds());
      } finally {
        await server.stop();
      }
    },
  };
}

/** It may have to list the snapshot first, by a program that takes a second to start. */
async function untilReady(uri: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    try {
      await runProgram('nbdinfo', ['--size', uri]);
      return;
    } catch {
      // Not listening yet.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error('nbdkit does not listen');
}

try {
  const snapshot = await synth();
  const row = (name: string, quota: number | undefined): Row => ({
    name,
    unit: 'Gets/s',
    contenders: [
      snapnbd(snapshot),
      bare(snapshot, quota, true),
      bare(snapshot, quota, false),
      ...(values['limits-only'] ? [] : [nbdkit(snapshot)]),
    ],
    setUp: () => startService(quota),
    tearDown: async () => {
      await emulator?.stop();
    },
  });
  const nbdkitVersion = versionOf('nbdkit');
  const versions = { nbdcopy: versionOf('nbdcopy') ?? 'missing', nbdkit: nbdkitVersion ?? 'missing' };
  await runTable(
    {
      name: 'cold',
      title: `Cold: ${sizeGib} GiB (${blockCount} blocks), ${values.latency} ms latency`,
      versions,
      rows: [...QUOTAS.map((quota) => row(`quota ${quota}/s`, quota)), row('no quota', undefined)],
      notes: [
        'The value is blocks delivered a second, so it is to be compared with the quota of its row. The loops of http.get ' +
          'have 64 requests in flight, neither sign nor cache nor serve anybody, and are told the quota, which they pace ' +
          'themselves to. CPU is that of the server or loop; the emulator runs beside it on the same cores, and its own is ' +
          'the last column: where no quota is the limit, both together fill the machine.',
      ],
    },
    tableOptionsOf(values),
  );
} finally {
  await emulator?.stop();
  folder.remove();
}
