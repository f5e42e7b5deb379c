import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { compiledMain } from '../fixtures/compiled.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { environment, mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const serve = (size: string): readonly string[] => [
  process.execPath,
  compiledMain(),
  'serve',
  `disk=memory:${size}`,
];

t.test('libnbd starts a server for one client', needsPrograms('nbdinfo'), async (t) => {
  const output = await mustRun('nbdinfo', ['--json', '--', '[', ...serve('3MiB'), ']'], {
    env: { NODE_OPTIONS: '' },
  });
  // The server says on the same output where it serves.
  t.match(JSON.parse(output.slice(output.indexOf('{'))), {
    exports: [{ 'export-name': 'disk', 'export-size': 3 * 2 ** 20 }],
  });
});

t.test('systemd-socket-activate', needsPrograms('systemd-socket-activate', 'nbdinfo'), async (t) => {
  const socket = join(workFolder(t), 's');
  const child = spawn('systemd-socket-activate', ['-l', socket, ...serve('5MiB')], {
    env: environment({ NODE_OPTIONS: '' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stderr, 'data');
  t.ok(existsSync(socket), 'it listens');
  const uri = `nbd+unix:///disk?socket=${socket}`;
  // The first client starts the server, and the second finds it running.
  for (let clients = 0; clients < 2; clients += 1) {
    t.equal(await mustRun('nbdinfo', ['--size', uri]), `${5 * 2 ** 20}\n`);
  }
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.resume();
  child.kill('SIGTERM');
  t.strictSame(await ended, [0, null], 'it drains, and ends well');
  t.equal(stdout, `${uri}\n`, 'and had said where it serves, and nowhere else');
  t.ok(existsSync(socket), 'the socket belongs to whoever made it');
});
