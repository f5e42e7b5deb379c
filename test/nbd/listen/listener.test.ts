import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { openListener, type ListenerSetup } from '../../../src/nbd/listen/listener.js';
import { EnvironmentError } from '../../../src/util/errors.js';
import { workFolder } from '../../fixtures/work-folder.js';

const setup: ListenerSetup = { onConnection: (socket) => socket.destroy(), onError: () => undefined };

/** Connects, and gives what becomes of it. */
async function outcomeOf(target: Parameters<typeof connect>[0]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(target as never);
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}

t.test('port 0 picks a free port, on either protocol', async (t) => {
  for (const host of ['127.0.0.1', '::1', 'localhost']) {
    const listener = await openListener({ kind: 'tcp', host, port: 0 }, setup);
    t.match(listener.address, { kind: 'tcp', host });
    const { port } = listener.address as { port: number };
    t.ok(port > 0);
    t.equal(await outcomeOf({ host, port } as never), 'connected');
    await listener.close();
    t.equal(await outcomeOf({ host, port } as never), 'ECONNREFUSED');
  }
});

t.test('what cannot be listened on is refused in one line that says what to do', async (t) => {
  const taken = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0 }, setup);
  t.teardown(() => taken.close());
  const folder = workFolder(t);
  const rows = [
    [taken.address, /in use.*0 picks a free one/],
    [{ kind: 'tcp', host: '203.0.113.1', port: 0 }, /does not have that address/],
    [{ kind: 'tcp', host: 'no-such-host.invalid', port: 0 }, /host name/],
    [{ kind: 'unix', path: join(folder, 'missing', 's') }, /folder of the socket does not exist/],
    [{ kind: 'fd', fd: 987 }, /no such descriptor|not a socket/],
  ] as const;
  for (const [address, message] of rows) {
    const attempt = openListener(address, setup);
    await t.rejects(attempt, EnvironmentError);
    await t.rejects(attempt, { message });
    await t.rejects(attempt, { message: /^Cannot listen on [^\n]*\.$/ });
  }
});

t.test(
  'the file of a unix socket is its owner’s alone, or as it was asked, and goes with the listener',
  async (t) => {
    const folder = workFolder(t);
    for (const [unixMode, expected] of [
      [undefined, 0o600],
      [0o660, 0o660],
      [0o666, 0o666],
    ] as const) {
      const path = join(folder, `s${expected}`);
      const before = process.umask(0);
      process.umask(before);
      const listener = await openListener(
        { kind: 'unix', path },
        { ...setup, ...(unixMode ? { unixMode } : {}) },
      );
      t.equal(statSync(path).mode & 0o777, expected);
      t.equal(process.umask(before), before, 'the mask of the process is as it was');
      t.equal(await outcomeOf(path as never), 'connected');
      await listener.close();
      t.notOk(existsSync(path));
    }
  },
);

t.test('the file of a dead server is replaced', async (t) => {
  const folder = workFolder(t);
  const path = join(folder, 's');
  // A process that is killed leaves its file behind; so does one whose file is renamed before it closes.
  const dead = createServer().listen(join(folder, 'dead'));
  await new Promise((resolve) => dead.once('listening', resolve));
  renameSync(join(folder, 'dead'), path);
  await new Promise((resolve) => dead.close(resolve));
  t.ok(lstatSync(path).isSocket());
  const listener = await openListener({ kind: 'unix', path }, setup);
  t.equal(await outcomeOf(path as never), 'connected');
  await listener.close();
});

t.test('the file of a living server, and of anything else, is not', async (t) => {
  const folder = workFolder(t);
  const path = join(folder, 's');
  const living = await openListener({ kind: 'unix', path }, setup);
  await t.rejects(openListener({ kind: 'unix', path }, setup), { message: /another server answers there/ });
  t.equal(await outcomeOf(path as never), 'connected', 'it still answers');
  await living.close();

  writeFileSync(path, 'precious');
  await t.rejects(openListener({ kind: 'unix', path }, setup), { message: /not a socket/ });
  t.equal(statSync(path).size, 8);
});

/** Starts a program as a service manager does: with sockets that are listened on already. */
const ACTIVATE = `
import os, socket, sys
file, port = socket.socket(socket.AF_UNIX), socket.socket()
file.bind(sys.argv[1])
port.bind(('127.0.0.1', 0))
for fd, s in ((3, file), (4, port)):
    s.listen(5)
    if s.fileno() != fd: os.dup2(s.fileno(), fd)
    os.set_inheritable(fd, True)
os.environ.update(LISTEN_FDS='2', LISTEN_FDNAMES='file:port', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
`;

t.test('sockets that were passed on are listened on, by whoever they are', async (t) => {
  const path = join(workFolder(t), 's');
  const program = join(import.meta.dirname, '../../fixtures/activated-server.ts');
  const child = spawn('python3', ['-c', ACTIVATE, path, process.execPath, ...process.execArgv, program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill());
  let printed = '';
  child.stdout.on('data', (text: Buffer) => (printed += text.toString()));
  while (printed.split('\n').length < 3) await once(child.stdout, 'data');
  t.match(printed, `file unix:${path}\n`, 'its path is found');
  const port = Number(/port 127\.0\.0\.1:(\d+)/.exec(printed)?.[1]);
  for (const target of [path, { host: '127.0.0.1', port }]) {
    const client = connect(target as never);
    const [greeting] = (await once(client, 'data')) as [Buffer];
    t.equal(greeting.toString(), 'hello');
    client.destroy();
  }
  await once(child, 'exit');
  t.ok(existsSync(path), 'the file is not theirs to remove');
});
