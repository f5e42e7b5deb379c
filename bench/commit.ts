/** How much of a quota of puts a commit uses. `npx tsx bench/commit.ts --help` says how. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Row, type Sample } from './harness.js';
import { compiledCli, runProgram, startProgram, temporaryFolder } from './harness-process.js';

const HELP = `Usage: npx tsx bench/commit.ts [--repeats N] [--gib N] [--only TEXT]... [--no-results]

Writes so many GiB (default: 4) of random bytes to a blank disk with nbdcopy, and commits it to the emulator, which lets through
as many puts a second as the row says. The value is blocks put by the second of the whole command, of what the quota allows.
Beside the largest quota stands a loop of bare requests that puts such an image, hashed, to an emulator without a quota: above 1 it
is the quota that bounds a commit, below it is the machine, which has the emulator as well. Everything is in the temporary folder
(TMPDIR): client and emulator move 1 GiB a quota of 200 in ten seconds each, which a slow disk cannot.`;

const QUOTAS_PER_SECOND = [200, 500];
/** The quota that a small machine cannot use up: bare requests say how much of it it can. */
const BARE_BESIDE = 500;
const BLOCKS_PER_GIB = 2048;
const DEFAULT_GIB = 4;

const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'any', AWS_SECRET_ACCESS_KEY: 'any', AWS_REGION: 'us-east-1' };

const { values } = parseArgs({
  options: { ...TABLE_OPTIONS, gib: { type: 'string' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const gib = Number(values.gib ?? DEFAULT_GIB);
  await runTable(
    {
      name: 'commit',
      title: `Commit of ${gib} GiB, all of it written: share of the quota of puts`,
      rows: QUOTAS_PER_SECOND.map((quota): Row => ({
        name: `${quota} puts/s`,
        unit: 'of the quota',
        contenders: [
          { name: 'snapnbd commit', measure: () => sampleOf(quota, gib) },
          ...(quota === BARE_BESIDE
            ? [{ name: 'bare requests, hashed, no quota', measure: () => bareSampleOf(quota, gib) }]
            : []),
        ],
      })),
      versions: {},
      notes: [
        'The time is that of the whole command: its start, completion and the wait for readability included; that of the bare ' +
          'requests begins with the first one, and ends with the snapshot completed. The emulator runs on the same machine.',
      ],
    },
    tableOptionsOf(values),
  );
}

/** The emulator, letting through so many puts a second, or all. */
interface Service {
  readonly url: string;
  readonly folder: string;
  readonly stop: () => Promise<void>;
}

async function startService(quota: number): Promise<Service> {
  const folder = temporaryFolder();
  const store = join(folder.path, 'emulator');
  mkdirSync(store);
  const limits = Number.isFinite(quota) ? ['--put-rate', `${quota}`] : [];
  const place = ['--dir', store, '--listen', '127.0.0.1:0'];
  const emulator = startProgram(process.execPath, [compiledCli(), 'emulator', 'serve', ...place, ...limits]);
  const stop = async (): Promise<void> => {
    await emulator.stop();
    folder.remove();
  };
  try {
    const [line = ''] = await emulator.lines(1);
    return { url: /http:\/\/[\d.]+:\d+/.exec(line)?.[0] ?? '', folder: folder.path, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeImage(folder: string, gib: number): Promise<string> {
  const image = join(folder, 'image');
  await runProgram('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', `count=${gib * 1024}`, 'status=none']);
  return image;
}

async function sampleOf(quota: number, gib: number): Promise<Sample> {
  const { url, folder, stop } = await startService(quota);
  try {
    const node = process.execPath;
    const options = ['--state-dir', join(folder, 'state'), '--endpoint-url', url];
    const listen = ['--listen', `unix:${join(folder, 's')}`];
    const serve = [compiledCli(), 'serve', `d=blank:${gib}GiB`, ...listen, ...options];
    const server = startProgram(node, serve, CREDENTIALS);
    const [uri = ''] = await server.lines(1);
    const image = await makeImage(folder, gib);
    await runProgram('nbdcopy', ['--flush', image, uri]);
    await server.stop();
    await runProgram('rm', [image]);
    // What the file system has to do for the image is not the commit's.
    await runProgram('sync', []);
    const { wallSeconds } = await runProgram(node, [compiledCli(), 'commit', 'd', ...options], CREDENTIALS);
    const stats = (await (await fetch(`${url}/_emulator/stats`)).json()) as {
      operations: Record<string, { requests: number; byStatus: Record<string, { requests: number }> }>;
    };
    const put = stats.operations.PutSnapshotBlock;
    const blockCount = gib * BLOCKS_PER_GIB;
    return {
      value: blockCount / wallSeconds / quota,
      extras: { 'puts per block': (put?.byStatus['201']?.requests ?? 0) / blockCount, seconds: wallSeconds },
    };
  } finally {
    await stop();
  }
}

async function bareSampleOf(quota: number, gib: number): Promise<Sample> {
  const { url, folder, stop } = await startService(Number.POSITIVE_INFINITY);
  try {
    const image = await makeImage(folder, gib);
    const program = startProgram(process.execPath, [
      ...['--import', 'tsx', join(import.meta.dirname, 'transfers-bare.ts'), '--endpoint', url],
      ...['--what', 'put', '--image', image, '--gib', `${gib}`],
    ]);
    const [line = '{}'] = await program.lines(1);
    await program.ended;
    const { wallSeconds, blockCount } = JSON.parse(line) as { wallSeconds: number; blockCount: number };
    return { value: blockCount / wallSeconds / quota, extras: { seconds: wallSeconds } };
  } finally {
    await stop();
  }
}
