import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCli, startCli } from '../fixtures/cli.js';
import { compiledMain } from '../fixtures/compiled.js';
import { workFolder } from '../fixtures/work-folder.js';

const MANIFEST = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
  version: string;
};

t.test('the version, alone', async (t) => {
  const outcome = await runCli(t, ['--version']);
  t.strictSame(outcome, { status: 0, stdout: `${MANIFEST.version}\n`, stderr: '' });
});

t.test('help names every command; without a command it goes to stderr', async (t) => {
  const help = await startCli(t, ['--help']).ended;
  t.equal(help.status, 0);
  for (const command of ['serve', 'info', 'emulator'])
    t.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
  const bare = await startCli(t, []).ended;
  t.equal(bare.status, 2);
  t.equal(bare.stdout, '');
  t.match(bare.stderr, /Usage: snapnbd/);
  for (const command of ['serve', 'info']) {
    const outcome = await startCli(t, [command, '--help']).ended;
    t.equal(outcome.status, 0);
    t.match(outcome.stdout, /--endpoint-url/);
  }
});

t.test('info: text and JSON', async (t) => {
  const dir = join(workFolder(t), 'emulator');
  const made = await startCli(t, [
    'emulator',
    'synth',
    '--dir',
    dir,
    '--size',
    '2GiB',
    '--fill',
    '1',
    '--seed',
    '7',
  ]).ended;
  const snapshotId = made.stdout.trim();
  const text = await startCli(t, ['info', snapshotId, '--emulator', dir]).ended;
  t.equal(text.status, 0, text.stderr);
  t.match(text.stdout, /^size {6}2 GiB \(4096 blocks of 512 KiB\)$/m);
  t.match(text.stdout, /^listed {4}2 GiB \(4096 blocks, 100\.0 %\)/m);
  const json = await startCli(t, ['info', '--json', snapshotId, '--emulator', dir]).ended;
  const { tokensExpireAt, ...info } = JSON.parse(json.stdout);
  t.strictSame(info, {
    snapshotId,
    volumeSizeGib: 2,
    volumeBlockCount: 4096,
    listedBlockCount: 4096,
    listedBytes: 2 ** 31,
    listCallCount: 1,
    costUsd: 0.0000006,
  });
  t.ok(Date.parse(tokensExpireAt) > Date.now());
});

t.test('serve: a URI for each export and address, then an orderly end', async (t) => {
  const socket = join(workFolder(t), 'nbd.sock');
  const server = startCli(t, [
    'serve',
    'a=memory:1MiB',
    'b c=memory:64TiB',
    '--listen',
    '127.0.0.1:0',
    '--listen',
    `unix:${socket}`,
    '--log-format',
    'json',
  ]);
  const uris = await server.lines(4);
  t.match(uris[0], /^nbd:\/\/127\.0\.0\.1:\d+\/a$/);
  t.match(uris[1], /^nbd:\/\/127\.0\.0\.1:\d+\/b%20c$/);
  t.equal(uris[2], `nbd+unix:///a?socket=${socket}`);
  t.equal(uris[3], `nbd+unix:///b%20c?socket=${socket}`);
  const outcome = await server.stop('SIGTERM');
  t.equal(outcome.status, 0);
  for (const line of outcome.stderr.trim().split('\n')) t.type(JSON.parse(line).message, 'string');
});

/** Starts a server with one of its streams on a device that is always full. */
function serveOntoFullDisk(t: Test, stream: 'stdout' | 'stderr'): ChildProcess {
  const full = openSync('/dev/full', 'w');
  const stdio: StdioOptions = stream === 'stdout' ? ['ignore', full, 'pipe'] : ['ignore', 'pipe', full];
  const args = ['serve', 'm=memory:1MiB', '--listen', '127.0.0.1:0', '--log-level', 'debug'];
  const child = spawn(process.execPath, [compiledMain(), ...args], { stdio });
  closeSync(full);
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

t.test('output that cannot be written: one line and status 1', async (t) => {
  const child = serveOntoFullDisk(t, 'stdout');
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = (await once(child, 'close')) as [number];
  t.equal(status, 1);
  t.match(stderr, /^snapnbd: Cannot write to standard output: .*ENOSPC.*$/m);
  t.notMatch(stderr, /\n\s+at /);
});

t.test('a log that cannot be written: serves on, and ends in order', async (t) => {
  const child = serveOntoFullDisk(t, 'stderr');
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  t.match(line.toString(), /^nbd:/);
  child.kill('SIGTERM');
  const [status] = (await once(child, 'exit')) as [number];
  t.equal(status, 0);
});
