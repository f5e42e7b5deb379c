import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type NetConnectOpts } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compiledCli, cpuSecondsOf, runProgram, startProgram, type Program } from './harness-process.js';

export const Transport = { Unix: 'unix', Tcp: 'TCP' } as const;
export type Transport = (typeof Transport)[keyof typeof Transport];

/** A server with the disk in memory. */
export interface HotServer {
  readonly uri: string;
  readonly cpuSeconds: () => number;
  readonly stop: () => Promise<void>;
}

/** Starts a server on the image of a disk. */
export type StartServer = (disk: string, transport: Transport) => Promise<HotServer>;

const MEMORY_EXPORT = 'scratch';
const START_TRIES_MAX = 200;
const START_PAUSE_MS = 25;

let socketCount = 0;

/** Makes the image of a disk with random bytes. @returns its path. */
export function makeDisk(folder: string, sizeMib: number): string {
  const path = join(folder, 'disk.img');
  const fd = openSync(path, 'w');
  for (let mib = 0; mib < sizeMib; mib += 1) writeSync(fd, randomBytes(2 ** 20));
  closeSync(fd);
  return path;
}

export const startOurSnapshot: StartServer = async (disk, transport) => {
  const emulator = mkdtempSync(join(dirname(disk), 'emulator-'));
  const snapshotId = execFileSync(
    process.execPath,
    [compiledCli(), 'emulator', 'import', '--dir', emulator, disk],
    {
      encoding: 'utf8',
    },
  ).trim();
  const server = await startOurs(
    [snapshotId, '--emulator', emulator, '--cache-memory', '512MiB'],
    disk,
    transport,
  );
  await runProgram('nbdcopy', [server.uri, 'null:']);
  return server;
};

export const startOurMemory: StartServer = async (disk, transport) => {
  const server = await startOurs([`${MEMORY_EXPORT}=memory:256MiB`], disk, transport);
  await runProgram('nbdcopy', [disk, server.uri]);
  return server;
};

async function startOurs(args: readonly string[], disk: string, transport: Transport): Promise<HotServer> {
  const listen = transport === Transport.Tcp ? '127.0.0.1:0' : `unix:${socketPath(disk)}`;
  const program = startProgram(process.execPath, [compiledCli(), 'serve', ...args, '--listen', listen]);
  const [uri = ''] = await program.lines(1);
  return { uri, cpuSeconds: () => program.cpuSeconds(), stop: () => program.stop() };
}

export const startNbdkitFile: StartServer = (disk, transport) => nbdkit(['file', disk], disk, transport);

export const startNbdkitMemory: StartServer = async (disk, transport) => {
  const server = await nbdkit(['memory', '256M'], disk, transport);
  await runProgram('nbdcopy', [disk, server.uri]);
  return server;
};

async function nbdkit(plugin: readonly string[], disk: string, transport: Transport): Promise<HotServer> {
  const where = await place(disk, transport);
  const at = where.path === undefined ? ['-i', '127.0.0.1', '-p', `${where.port}`] : ['-U', where.path];
  return ready(startProgram('nbdkit', ['-f', ...at, ...plugin]), where);
}

export const startQemuNbd: StartServer = async (disk, transport) => {
  const where = await place(disk, transport);
  const at = where.path === undefined ? ['-b', '127.0.0.1', '-p', `${where.port}`] : ['-k', where.path];
  const how = ['-f', 'raw', '-r', '-t', '-e', '16', '--cache=writeback', '-x', ''];
  return ready(startProgram('qemu-nbd', [...how, ...at, disk]), where);
};

export const startNbdServer: StartServer = async (disk, transport) => {
  const where = await place(disk, transport);
  const base = join(dirname(disk), `nbd-server-${process.hrtime.bigint()}`);
  // It wants an address of its own beside a unix socket.
  const port = where.path === undefined ? where.port : (await place(disk, Transport.Tcp)).port;
  const socket = where.path === undefined ? '' : `unixsock = ${where.path}\n`;
  const generic = `[generic]\nlistenaddr = 127.0.0.1\nport = ${port}\n${socket}`;
  writeFileSync(`${base}.conf`, `${generic}[disk]\nexportname = ${disk}\nreadonly = true\n`);
  // Left in the foreground it would serve a single client.
  await runProgram('nbd-server', ['-C', `${base}.conf`, '-p', `${base}.pid`]);
  const uri = where.uri.replace(/\/(?=\?|$)/, '/disk');
  await untilAnswered(where);
  const pid = Number(readFileSync(`${base}.pid`, 'latin1'));
  return {
    uri,
    cpuSeconds: () => cpuSecondsOf(pid),
    stop: () => {
      process.kill(pid);
      return Promise.resolve();
    },
  };
};

interface Place {
  readonly path: string | undefined;
  readonly port: number;
  readonly uri: string;
}

async function place(disk: string, transport: Transport): Promise<Place> {
  if (transport === Transport.Unix) {
    const path = socketPath(disk);
    return { path, port: 0, uri: `nbd+unix:///?socket=${path}` };
  }
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return { path: undefined, port, uri: `nbd://127.0.0.1:${port}/` };
}

function socketPath(disk: string): string {
  socketCount += 1;
  return join(dirname(disk), `${socketCount}.sock`);
}

/** Waits until a server that was started takes connections. */
async function ready(program: Program, where: Place): Promise<HotServer> {
  try {
    await Promise.race([
      program.ended.then(() => Promise.reject(new Error('it has ended'))),
      untilAnswered(where),
    ]);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return { uri: where.uri, cpuSeconds: () => program.cpuSeconds(), stop: () => program.stop() };
}

async function untilAnswered(where: Place): Promise<void> {
  const target: NetConnectOpts =
    where.path === undefined ? { host: '127.0.0.1', port: where.port } : { path: where.path };
  for (let attempt = 0; attempt < START_TRIES_MAX; attempt += 1) {
    if (await answers(target)) return;
    await sleep(START_PAUSE_MS);
  }
  throw new Error('the server does not answer');
}

function answers(target: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(target);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
