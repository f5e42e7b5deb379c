/** How fast whole disks are moved. `npx tsx bench/transfers.ts --help` says how. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Row, type Sample } from './harness.js';
import { compiledCli, runProgram, startProgram, temporaryFolder, type Program } from './harness-process.js';

const HELP = `Usage: npx tsx bench/transfers.ts [--repeats N] [--gib N] [--quota N] [--only TEXT]... [--no-results]

Moves a snapshot of so many full GiB (default: 4) from and to the emulator: with a quota of so many block calls a second
(default: 500), where the value is blocks by the second of the whole command as a share of the quota; and without one, where a
loop of bare requests with 64 in flight is what it is compared with, and the value is blocks by the second.`;

const BLOCKS_PER_GIB = 2048;
const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'any', AWS_SECRET_ACCESS_KEY: 'any', AWS_REGION: 'us-east-1' };

const { values } = parseArgs({
  options: {
    ...TABLE_OPTIONS,
    gib: { type: 'string', default: '4' },
    quota: { type: 'string', default: '500' },
    help: { type: 'boolean' },
  },
});
const gib = Number(values.gib);
const quota = Number(values.quota);
const blockCount = gib * BLOCKS_PER_GIB;
const Move = { Download: 'download', Upload: 'upload', Copy: 'copy' } as const;
type Move = (typeof Move)[keyof typeof Move];
const BARE: Readonly<Record<Move, string>> = { download: 'get', upload: 'put', copy: 'copy' };

/** The emulator and a snapshot in it, for one run. */
interface Service {
  readonly url: string;
  readonly snapshotId: string;
  readonly folder: string;
  stop(): Promise<void>;
}

async function startService(limits: readonly string[]): Promise<Service> {
  const folder = temporaryFolder();
  const store = join(folder.path, 'emulator');
  const synth = ['emulator', 'synth', '--dir', store, '--size', `${gib}GiB`, '--fill', '1'];
  const maker = startProgram(process.execPath, [compiledCli(), ...synth]);
  const [snapshotId = ''] = await maker.lines(1);
  await maker.ended;
  const args = [compiledCli(), 'emulator', 'serve', '--dir', store, '--listen', '127.0.0.1:0', ...limits];
  const emulator: Program = startProgram(process.execPath, args);
  const [url = ''] = await emulator.lines(1);
  return {
    ...{ url, snapshotId, folder: folder.path },
    stop: async () => {
      await emulator.stop();
      folder.remove();
    },
  };
}

/** Runs a command of snapnbd; uploads what a download has brought. */
async function move(what: Move, service: Service): Promise<number> {
  const { url, snapshotId, folder } = service;
  const image = join(folder, 'image');
  const common = ['--endpoint-url', url, '--state-dir', join(folder, 'state')];
  const run = async (...args: readonly string[]): Promise<number> =>
    (await runProgram(process.execPath, [compiledCli(), ...args, ...common], CREDENTIALS)).wallSeconds;
  if (what === Move.Copy) return run('copy', snapshotId);
  const downloaded = await run('download', snapshotId, image);
  return what === Move.Download ? downloaded : run('upload', image);
}

async function ours(what: Move, limits: readonly string[], unit: number): Promise<Sample> {
  const service = await startService(limits);
  try {
    const seconds = await move(what, service);
    return { value: blockCount / seconds / unit, extras: { seconds } };
  } finally {
    await service.stop();
  }
}

async function bare(what: Move): Promise<Sample> {
  const service = await startService([]);
  try {
    const program = startProgram(process.execPath, [
      ...['--import', 'tsx', join(import.meta.dirname, 'transfers-bare.ts'), '--endpoint', service.url],
      ...['--snapshot', service.snapshotId, '--what', BARE[what], '--gib', String(gib)],
    ]);
    const [line = '{}'] = await program.lines(1);
    await program.ended;
    const { wallSeconds } = JSON.parse(line) as { wallSeconds: number };
    return { value: blockCount / wallSeconds, extras: { seconds: wallSeconds } };
  } finally {
    await service.stop();
  }
}

const moves = Object.values(Move);
const limitsOf = (what: Move): readonly string[] =>
  what === Move.Upload ? ['--put-rate', `${quota}`] : ['--get-rate', `${quota}`, '--put-rate', `${quota}`];

if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  await runTable(
    {
      name: 'transfers',
      title: 'Disks moved, all of them written',
      rows: [
        ...moves.map((what): Row => ({
          name: `${what} of ${gib} GiB at ${quota}/s`,
          unit: 'of the quota',
          contenders: [{ name: `snapnbd ${what}`, measure: () => ours(what, limitsOf(what), quota) }],
        })),
        ...moves.map((what): Row => ({
          name: `${what} of ${gib} GiB without quota`,
          unit: 'blocks/s',
          contenders: [
            { name: `snapnbd ${what}`, measure: () => ours(what, [], 1) },
            { name: 'bare requests, hashed', measure: () => bare(what) },
          ],
        })),
      ],
      versions: {},
      notes: [
        'The time is that of the whole command, its start and what comes after the last block included; that of the bare ' +
          'requests begins with the first one. The emulator runs on the same machine.',
      ],
    },
    tableOptionsOf(values),
  );
}
