import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { runCommandLine } from '../../src/cli/run.js';
import { startCli } from '../fixtures/cli.js';
import { listAll } from '../fixtures/ebs-calls.js';
import { clientOf } from '../fixtures/ebs-emulator.js';
import { startEmulator } from '../fixtures/emulator.js';
import { seededBytes } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

const block = (name: string): Buffer => seededBytes(name, 524_288);

/** What a command line that succeeds, in this process, writes on its standard output. */
async function outputOf(t: Test, args: readonly string[]): Promise<string> {
  const written = t.capture(process.stdout, 'write', () => true);
  const ending = await runCommandLine(['emulator', ...args]);
  const texts = written().map((call) => String(call.args[0]));
  written.restore();
  if (ending.exitStatus !== 0) throw new Error(ending.line);
  return texts.join('');
}

function writeImage(t: Test): string {
  const path = join(workFolder(t), 'disk.img');
  writeFileSync(path, block('content'));
  truncateSync(path, 2 ** 30 + 1);
  return path;
}

t.test('import, synth and list: ids alone on stdout, a table, JSON', async (t) => {
  const dir = join(workFolder(t), 'new');
  const image = writeImage(t);
  const imported = await outputOf(t, ['import', '--dir', dir, image, '--description', 'my disk']);
  t.match(imported, /^snap-[0-9a-f]{17}\n$/);
  const parent = imported.trim();
  const child = (await outputOf(t, ['import', '--dir', dir, image, '--parent', parent])).trim();
  const synthArgs = ['--size', '64TiB', '--fill', '0.5', '--seed', '7'];
  t.match(await outputOf(t, ['synth', '--dir', dir, ...synthArgs]), /^snap-[0-9a-f]{17}\n$/);
  const table = (await outputOf(t, ['list', '--dir', dir])).split('\n');
  t.equal(table.length, 5);
  t.match(table[1], new RegExp(`^${parent}  completed  2 GiB +512 KiB +512 KiB +- .* my disk$`));
  const json = JSON.parse(await outputOf(t, ['list', '--dir', dir, '--json'])) as object[];
  t.match(json, [
    { snapshotId: parent, description: 'my disk', volumeSizeGib: 2, ownBlockCount: 1 },
    { snapshotId: child, parentSnapshotId: parent, ownBlockCount: 0, listedBlockCount: 1 },
    {
      origin: 'synth',
      volumeSizeGib: 65_536,
      listedBlockCount: 67_108_864,
      synth: { seed: 7, fillPpm: 500_000 },
    },
  ]);
});

t.test('serve: says when it is ready, sees what is imported meanwhile, stops on SIGTERM', async (t) => {
  const dir = workFolder(t);
  const emulator = await startEmulator(t, dir);
  t.match((await emulator.process.lines(1))[0], /^http:\/\/127\.0\.0\.1:\d+$/);
  const client = clientOf(t, emulator.url);
  const args = ['emulator', 'import', '--dir', dir, writeImage(t)];
  const imported = (await startCli(t, args).ended).stdout.trim();
  t.strictSame([...(await listAll(client, imported)).tokens.keys()], [0]);
  const second = await startCli(t, ['emulator', 'serve', '--dir', dir, '--listen', '127.0.0.1:0']).ended;
  t.equal(second.status, 1);
  t.match(
    second.stderr,
    `another emulator serves it already (process ${emulator.process.pid}, ${emulator.url})`,
  );
  t.equal(second.stderr.trim().split('\n').length, 1);
  const idle = connect(emulator.port, '127.0.0.1');
  idle.on('error', () => undefined);
  t.teardown(() => idle.destroy());
  const { status } = await emulator.process.stop();
  t.equal(status, 0);
  const third = await startEmulator(t, dir);
  t.equal((await third.process.stop('SIGINT')).status, 0, 'and SIGINT');
});

t.test('mistakes: one line, 2 for usage and 1 for the rest', async (t) => {
  const dir = workFolder(t);
  const foreign = workFolder(t);
  writeFileSync(join(foreign, 'thesis.txt'), 'x');
  mkdirSync(join(dir, 'x'));
  const empty = join(dir, 'empty.img');
  writeFileSync(empty, '');
  const fresh = join(dir, 'fresh');
  const tries: [string[], number, RegExp][] = [
    [['serve'], 2, /--dir/],
    [['serve', '--dir', fresh, '--listen', '4599'], 2, /HOST:PORT/],
    [['serve', '--dir', fresh, '--listen', '127.0.0.1:99999'], 2, /HOST:PORT/],
    [['serve', '--dir', fresh, '--error-rate', '1.01'], 2, /--error-rate to 1\.01/],
    [['serve', '--dir', fresh, '--error-rate', 'half'], 2, /--error-rate to "half"/],
    [['serve', '--dir', fresh, '--get-rate', '0'], 2, /--get-rate/],
    [['serve', '--dir', fresh, '--token-ttl', 'soon'], 2, /soon/],
    [['serve', '--dir', fresh, '--page-size', '0'], 2, /--page-size/],
    [['serve', '--dir', fresh, '--listen', '0.0.0.0:0'], 1, /--allow-remote/],
    [['serve', '--dir', fresh, '--listen', 'no.such.host.invalid:0'], 1, /no\.such\.host\.invalid/],
    [['serve', '--dir', foreign], 1, /thesis\.txt/],
    [['import', '--dir', fresh], 2, /image/],
    [['import', '--dir', fresh, join(dir, 'missing')], 1, /no such file/],
    [['import', '--dir', fresh, empty], 1, /it is empty/],
    [['import', '--dir', fresh, empty, '--description', 'x'.repeat(256)], 2, /256/],
    [['list', '--dir', join(dir, 'missing')], 1, /no such folder/],
    [['synth', '--dir', fresh], 2, /--size/],
    [['synth', '--dir', fresh, '--size', '1.5GiB'], 2, /whole GiB/],
    [['synth', '--dir', fresh, '--size', '65TiB'], 2, /65536GiB/],
    [['synth', '--dir', fresh, '--size', '1GiB', '--fill', '2'], 2, /--fill 2/],
    [['synth', '--dir', fresh, '--size', '1GiB', '--seed=-1'], 2, /--seed -1/],
    [['synth', '--dir', join(empty, 'x'), '--size', '1GiB'], 1, /folder/],
  ];
  for (const [args, status, message] of tries) {
    const failure = await runCommandLine(['emulator', ...args]);
    const what = args.join(' ').slice(0, 80);
    t.equal(failure.exitStatus, status, what);
    t.match(failure.line, message, what);
    t.notMatch(failure.line, /\n|unexpected/, what);
  }
  const spawned = await startCli(t, ['emulator', 'import', '--dir', fresh, empty]).ended;
  t.strictSame([spawned.status, spawned.stdout], [1, '']);
  t.match(spawned.stderr, /^snapnbd: Cannot import .*empty\.img: it is empty\.\n$/);
});

t.test('serve: a port in use, and any address when told so', async (t) => {
  const emulator = await startEmulator(t, workFolder(t));
  const args = ['emulator', 'serve', '--dir', workFolder(t), '--listen'];
  const busy = await startCli(t, [...args, `127.0.0.1:${emulator.port}`]).ended;
  t.equal(busy.status, 1);
  t.match(busy.stderr, /port \d+: the port is in use/);
  const open = startCli(t, [...args, '0.0.0.0:0', '--allow-remote']);
  t.match((await open.lines(1))[0], /^http:\/\/0\.0\.0\.0:\d+$/);
  const six = startCli(t, ['emulator', 'serve', '--dir', workFolder(t), '--listen', '[::1]:0']);
  t.match((await six.lines(1))[0], /^http:\/\/\[::1\]:\d+$/);
});

t.test('serve: all its options', async (t) => {
  const rates = ['get', 'put', 'list', 'start', 'complete', 'snapshot-get', 'snapshot-put'];
  const shares = ['error', 'corrupt', 'drop', 'empty-page'];
  const times = ['token-ttl', 'readable-delay', 'start-delay', 'complete-delay'];
  const emulator = await startEmulator(t, workFolder(t), [
    ...rates.flatMap((name, at) => [`--${name}-rate`, String(at + 1)]),
    ...shares.flatMap((name, at) => [`--${name}-rate`, String(at / 10)]),
    ...times.flatMap((name, at) => [`--${name}`, `${at + 1}s`]),
    ...['--latency-ms', '5', '--seed', '9', '--page-size', '11', '--deny', 'ec2:*'],
  ]);
  const faults = (await (await fetch(`${emulator.url}/_emulator/faults`)).json()) as object;
  t.strictSame(faults, {
    latencyMs: 5,
    getRate: 1,
    putRate: 2,
    listRate: 3,
    startRate: 4,
    completeRate: 5,
    snapshotGetRate: 6,
    snapshotPutRate: 7,
    errorRate: 0,
    corruptRate: 0.1,
    dropRate: 0.2,
    emptyPageRate: 0.3,
    seed: 9,
    pageSize: 11,
    tokenTtl: 1,
    readableDelay: 2,
    startDelay: 3,
    completeDelay: 4,
    deny: 'ec2:*',
  });
});
