import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { EnvironmentError, messageOf, systemCodeOf } from '../../util/errors.js';
import type { Clock } from '../../util/clock.js';
import type { StoreLayout } from './layout.js';

/** How long the other server may take to say who it is. */
const ANSWER_MS = 1000;
const ANSWER_MAX_BYTES = 200;

/** What the names of abstract sockets begin with. */
const ABSTRACT = '\0';

/** Held by the one server of a folder. */
export interface ServerLock {
  /** Says how the server can be reached, for those who come later. */
  announce(url: string): void;
  release(): Promise<void>;
}

/**
 * Makes this process the only server of a folder. Imports and listings need no lock.
 *
 * The lock is an abstract unix socket named after the folder's device and inode: the kernel lets one process have
 * the name, and takes it away when the process ends, however it ends. Elsewhere than on Linux there are no such
 * sockets, and a file in the folder takes their place.
 *
 * @throws {EnvironmentError} naming the server that has the folder.
 */
export async function lockForServer(layout: StoreLayout, clock: Clock): Promise<ServerLock> {
  const path = await lockAddress(layout);
  let url = 'starting';
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`process ${process.pid}, ${url}`);
  });
  try {
    await listen(server, path);
  } catch (error) {
    if (systemCodeOf(error) !== 'EADDRINUSE') throw cannotLock(layout, error);
    const holder = await askHolder(path, clock);
    const isLeftBehind = holder === undefined && !path.startsWith(ABSTRACT);
    if (!isLeftBehind) {
      throw new EnvironmentError(
        `Cannot serve ${layout.dir}: another emulator serves it already (${holder ?? 'an unknown process'}). Use that one with --endpoint-url, or stop it.`,
        { cause: error },
      );
    }
    await rm(path, { force: true });
    await listen(server, path).catch((second: unknown) => {
      throw cannotLock(layout, second);
    });
  }
  // The system could not let somebody in who asks who has the folder; without this it would end the process.
  server.on('error', () => undefined);
  server.unref();
  return {
    announce: (announced) => (url = announced),
    release: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function cannotLock(layout: StoreLayout, error: unknown): EnvironmentError {
  return new EnvironmentError(`Cannot lock the emulator folder ${layout.dir}: ${messageOf(error)}.`, {
    cause: error,
  });
}

async function lockAddress(layout: StoreLayout): Promise<string> {
  if (process.platform !== 'linux') return join(layout.dir, 'server.sock');
  const { dev, ino } = await stat(layout.dir, { bigint: true });
  const digest = createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32);
  return `${ABSTRACT}snapnbd-emulator-${digest}`;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve());
  });
}

/** What the holder says of itself; undefined when nobody answers. */
function askHolder(path: string, clock: Clock): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(path);
    const timer = clock.setTimer(ANSWER_MS, () => socket.destroy());
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (text.length > ANSWER_MAX_BYTES) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      timer.cancel();
      resolve(text === '' ? undefined : text.slice(0, ANSWER_MAX_BYTES));
    });
  });
}
