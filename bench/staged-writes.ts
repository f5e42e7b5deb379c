/** Staged writes: a fork of snapnbd, nbdkit's file plugin and qemu-nbd on an overlay. `--help` says how. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Contender, type Row, type Sample } from './harness.js';
import { versionOf } from './harness-machine.js';
import { compiledCli, startProgram, type Program } from './harness-process.js';

const HELP = `Usage: npx tsx bench/staged-writes.ts [--repeats N] [--seconds N] [--dir DIR] [--only TEXT]... [--no-results]

Needs fio, nbdkit, qemu-img and qemu-nbd. All servers stage on the same disk: that of --dir (default: the temporary folder).
Each sample begins with a fresh disk of 1 GiB, of which nothing is allocated, and ends with a flush that is measured.`;

const DEFAULT_SECONDS = 3;
const DISK_MIB = 1024;
const START_TRIES_MAX = 400;
const START_PAUSE_MS = 25;

interface Task {
  readonly name: string;
  readonly unit: 'MB/s' | 'writes/s';
  readonly options: readonly string[];
}

const TASKS: readonly Task[] = [
  {
    name: '4 KiB random, depth 32',
    unit: 'writes/s',
    options: ['--rw=randwrite', '--bs=4k', '--iodepth=32'],
  },
  { name: '256 KiB sequential, depth 8', unit: 'MB/s', options: ['--rw=write', '--bs=256k', '--iodepth=8'] },
  {
    name: '4 KiB random, depth 16, a flush every 16',
    unit: 'writes/s',
    options: ['--rw=randwrite', '--bs=4k', '--iodepth=16', '--fsync=16'],
  },
];

/** Starts a server on a fresh disk in the folder, listening on the socket. @returns the name of the export. */
type Start = (folder: string, socket: string) => { readonly program: Program; readonly exportName: string };

const startFork: Start = (folder, socket) => {
  const emulator = join(folder, 'emulator');
  execFileSync('mkdir', ['-p', emulator]);
  const place = ['--state-dir', join(folder, 'state'), '--emulator', emulator];
  const args = [compiledCli(), 'serve', 'd=blank:1GiB', '--listen', `unix:${socket}`, ...place];
  return { program: startProgram(process.execPath, args), exportName: 'd' };
};

const startNbdkit: Start = (folder, socket) => {
  const image = join(folder, 'image');
  writeFileSync(image, '');
  truncateSync(image, DISK_MIB * 2 ** 20);
  return { program: startProgram('nbdkit', ['-f', '-U', socket, 'file', image]), exportName: '' };
};

const startQemuNbd: Start = (folder, socket) => {
  const [base, overlay] = [join(folder, 'base'), join(folder, 'overlay')];
  writeFileSync(base, '');
  truncateSync(base, DISK_MIB * 2 ** 20);
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, overlay]);
  const args = ['-f', 'qcow2', '-t', '-e', '16', '--cache=writeback', '-x', '', '-k', socket, overlay];
  return { program: startProgram('qemu-nbd', args), exportName: '' };
};

const SERVERS: Readonly<Record<string, Start>> = {
  'snapnbd fork': startFork,
  'nbdkit file': startNbdkit,
  'qemu-nbd qcow2': startQemuNbd,
};

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    seconds: { type: 'string' },
    dir: { type: 'string' },
    help: { type: 'boolean' },
  },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const seconds = Number(values.seconds ?? DEFAULT_SECONDS);
  const dir = values.dir ?? tmpdir();
  await runTable(
    {
      name: 'staged-writes',
      title: 'Staged writes to a fresh disk of 1 GiB, over a unix socket, fio with its nbd engine',
      rows: TASKS.map((task) => rowOf(task, seconds, dir)),
      versions: {
        nbdkit: versionOf('nbdkit') ?? 'none',
        'qemu-nbd': versionOf('qemu-nbd') ?? 'none',
        fio: versionOf('fio') ?? 'none',
      },
    },
    tableOptionsOf(values),
  );
}

function rowOf(task: Task, seconds: number, dir: string): Row {
  const contenders = Object.entries(SERVERS).map(([name, start]): Contender => ({
    name,
    measure: () => sampleOf(task, start, seconds, dir),
  }));
  return { name: task.name, unit: task.unit, contenders };
}

async function sampleOf(task: Task, start: Start, seconds: number, dir: string): Promise<Sample> {
  const folder = mkdtempSync(join(dir, 'snapnbd-staged-'));
  const socket = join(folder, 's');
  const { program, exportName } = start(folder, socket);
  try {
    await listening(socket);
    const cpuBefore = program.cpuSeconds();
    const { stdout } = await promisify(execFile)('fio', [
      ...['--name=staged', '--ioengine=nbd', `--uri=nbd+unix:///${exportName}?socket=${socket}`],
      ...[`--size=${DISK_MIB}m`, '--norandommap', '--time_based', `--runtime=${seconds}`, '--end_fsync=1'],
      ...['--thread', '--randrepeat=0', '--refill_buffers', '--output-format=json', ...task.options],
    ]);
    const cpuSeconds = program.cpuSeconds() - cpuBefore;
    const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
      jobs: [{ write: { iops: number; bw_bytes: number; total_ios: number } }];
    };
    const { write } = report.jobs[0];
    return {
      value: task.unit === 'MB/s' ? write.bw_bytes / 1e6 : write.iops,
      extras: { 'server µs': (cpuSeconds * 1e6) / write.total_ios },
    };
  } finally {
    await program.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Resolves when a server takes connections. */
async function listening(path: string): Promise<void> {
  for (let attempt = 0; attempt < START_TRIES_MAX; attempt += 1) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect({ path });
      socket.once('error', () => resolve(false));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, START_PAUSE_MS));
  }
  throw new Error('the server does not answer');
}
