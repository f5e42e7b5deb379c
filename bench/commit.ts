/** How much of a quota of puts a commit uses. `npx tsx bench/commit.ts --help` says how. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Row, type Sample } from './harness.js';
import { compiledCli, runProgram, startProgram, temporaryFolder } from './harness-process.js';

const HELP = `Usage: npx tsx bench/commit.ts [--repeats N] [--gib N] [--only TEXT]... [--no-results]

Writes so many GiB (default: 4) of random bytes to a blank disk with nbdcopy, and commits it to the emulator, which lets through
as many puts a second as the row says. The value is blocks put by the second of the whole command, of what the quota allows.`;

const QUOTAS_PER_SECOND = [200, 500];
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
        contenders: [{ name: 'snapnbd commit', measure: () => sampleOf(quota, gib) }],
      })),
      versions: {},
      notes: [
        'The time is that of the whole command: its start, completion and the wait for readability included.',
      ],
    },
    tableOptionsOf(values),
  );
}

async function sampleOf(quota: number, gib: number): Promise<Sample> {
  const folder = temporaryFolder();
  const store = join(folder.path, 'emulator');
  mkdirSync(store);
  const node = process.execPath;
  const emulator = startProgram(node, [
    ...[compiledCli(), 'emulator', 'serve', '--dir', store, '--listen', '127.0.0.1:0'],
    ...['--put-rate', `${quota}`],
  ]);
  try {
    const [line = ''] = await emulator.lines(1);
    const url = /http:\/\/[\d.]+:\d+/.exec(line)?.[0] ?? '';
    const options = ['--state-dir', join(folder.path, 'state'), '--endpoint-url', url];
    const socket = join(folder.path, 's');
    const listen = ['--listen', `unix:${socket}`];
    const server = startProgram(
      node,
      [compiledCli(), 'serve', `d=blank:${gib}GiB`, ...listen, ...options],
      CREDENTIALS,
    );
    const [uri = ''] = await server.lines(1);
    const image = join(folder.path, 'image');
    await runProgram('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', `count=${gib * 1024}`, 'status=none']);
    await runProgram('nbdcopy', ['--flush', image, uri]);
    await server.stop();
    await runProgram('rm', [image]);
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
    await emulator.stop();
    folder.remove();
  }
}
