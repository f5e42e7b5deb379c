import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCli } from '../fixtures/cli.js';
import type { Outcome } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

interface Place {
  readonly emulator: string;
  readonly state: string;
}

function placeFor(t: Test): Place {
  const folder = workFolder(t);
  const place = { emulator: join(folder, 'emulator'), state: join(folder, 'state') };
  mkdirSync(place.emulator);
  return place;
}

function run(t: Test, args: readonly string[]): Promise<Outcome> {
  return startCli(t, args).ended;
}

t.test('a blank disk becomes a snapshot, and the parent of the next', async (t) => {
  const { emulator, state } = placeFor(t);
  const options = ['--state-dir', state, '--emulator', emulator];
  const server = startCli(t, ['serve', 'd=blank:1GiB', '--listen', '127.0.0.1:0', ...options]);
  await server.lines(1);
  const first = await run(t, ['commit', 'd', '--state-dir', state, '--description', 'first', '--tag', 'a=b']);
  t.match(first, { status: 0, stdout: /^snap-[0-9a-f]{17}\n$/ }, 'through the server');
  const second = startCli(t, ['serve', 'd=blank:1GiB', '--listen', '127.0.0.1:0', ...options]);
  const refusal = await second.ended;
  t.equal(refusal.status, 1);
  t.match(refusal.stderr, /it already|has it/, 'a second server gets neither');
  t.match(await run(t, ['discard', 'd', '--state-dir', state]), {
    status: 1,
    stderr: `snapnbd: Cannot use the fork "d": process ${server.pid} (snapnbd serve) has it. Stop that one first.\n`,
  });
  await server.stop();
  t.match(
    await run(t, ['commit', 'd', ...options]),
    { status: 0, stdout: first.stdout },
    'nothing more to commit',
  );
  const forks = await run(t, ['forks', '--json', '--state-dir', state]);
  t.match(JSON.parse(forks.stdout), [
    { name: 'd', baseSnapshotId: first.stdout.trim(), sizeBytes: 2 ** 30, stagedBytes: 0, state: 'clean' },
  ]);
  t.match(await run(t, ['forks', '--state-dir', state]), { status: 0, stdout: /^NAME +BASE/ });
  t.match(await run(t, ['discard', 'd', '--state-dir', state]), { status: 0, stdout: '' });
  t.match(await run(t, ['forks', '--json', '--state-dir', state]), { status: 0, stdout: '[]\n' });
});

t.test('mistakes are a line each', async (t) => {
  const { emulator, state } = placeFor(t);
  const options = ['--state-dir', state, '--emulator', emulator];
  const cases: readonly [readonly string[], number, RegExp][] = [
    [['commit', 'nope', ...options], 2, /Cannot find a fork named "nope"/],
    [['discard', 'nope', '--state-dir', state], 2, /Cannot find a fork named "nope"/],
    [['serve', 'd=blank:1500MiB', ...options], 2, /whole number of GiB/],
    [['serve', 'd=fork:snap-12', ...options], 2, /as a snapshot id/],
    [['commit', 'd', '--tag', 'x', ...options], 2, /KEY=VALUE/],
    [['commit', 'd', '--snapshot-timeout', '5m', ...options], 2, /10m to 3d/],
    [['commit', 'd', '--description', 'x'.repeat(256), ...options], 2, /256 characters/],
    [['serve', 'd=blank:1GiB', '--put-rate', '0', ...options], 2, /above 0/],
    [['serve', 'd=blank:1GiB', '--stage-limit', '1', ...options], 2, /at least 1MiB/],
    [['serve', 'd=blank:1GiB', '--commit-every', '0s', ...options], 2, /from 1s/],
    [['serve', 'd=blank:1GiB', '--durability', 'none', ...options], 2, /local, remote/],
  ];
  for (const [args, status, message] of cases) {
    const outcome = await run(t, args);
    t.equal(outcome.status, status, args.join(' '));
    t.match(outcome.stderr, message);
    t.equal(outcome.stderr.trim().split('\n').length, 1);
  }
});
