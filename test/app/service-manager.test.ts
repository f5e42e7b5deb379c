// What systemd is told, by its own program and a real datagram socket.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { notifyServiceManager } from '../../src/app/service-manager.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { needsPrograms } from '../fixtures/programs.js';
import { workFolder } from '../fixtures/work-folder.js';

/** As systemd does: the sender waits until what came with its barrier is closed. [sd_notify_barrier(3)] */
const LISTENER = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1]); s.settimeout(30); print('bound', flush=True)
got = ''
while 'BARRIER=1' not in got:
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    got += data.decode() + '\\n'
    for fd in fds: os.close(fd)
print(got, flush=True)
`;

t.test('states reach the socket', { ...needsPrograms('python3', 'systemd-notify') }, async (t) => {
  for (const [state, expected] of [
    ['READY=1', /^READY=1$/m],
    ['RELOADING=1', /^MONOTONIC_USEC=\d+$/m],
  ] as const) {
    const path = join(workFolder(t), 'notify');
    const listener = spawn('python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    listener.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    await once(listener.stdout, 'data');
    const log = new MemoryLog();
    const environment = { ...process.env, NOTIFY_SOCKET: path };
    await notifyServiceManager(state, 'serving, "well"', { environment, logger: log });
    await once(listener, 'close');
    t.match(text, expected);
    t.match(text, /^STATUS=serving, "well"$/m);
    t.strictSame(log.lines, []);
  }
});

t.test('nobody asked: nothing happens; nobody listens: a line in the log', async (t) => {
  const log = new MemoryLog();
  await notifyServiceManager('READY=1', 'serving', { environment: { PATH: '/nowhere' }, logger: log });
  t.strictSame(log.lines, []);
  const environment = { PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere/notify' };
  await notifyServiceManager('READY=1', 'serving', { environment, logger: log });
  t.equal(log.at('warn').length, 1);
});
