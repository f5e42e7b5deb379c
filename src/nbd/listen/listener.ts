import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { assert } from '../../util/assert.js';
import { EnvironmentError, messageOf, systemCodeOf } from '../../util/errors.js';
import { unixPathOf } from './activated-sockets.js';
import { formatListenAddress, type BoundAddress, type ListenAddress } from './listen-address.js';

/** Clients that wait to be accepted; the system cuts it to its own maximum. */
const BACKLOG = 511;

/** The default permissions of a unix socket: its owner alone. */
export const DEFAULT_UNIX_MODE = 0o600;

/** A socket that is being listened on. */
export interface Listener {
  readonly address: BoundAddress;
  /** Stops listening and removes the socket file. Connections that were accepted live on. */
  close(): Promise<void>;
}

/** What a listener needs beside its address. */
export interface ListenerSetup {
  readonly onConnection: (socket: Socket) => void;
  /** A client could not be accepted; the listener goes on. */
  readonly onError: (error: Error) => void;
  /** Permissions of a unix socket. Default: 0600. */
  readonly unixMode?: number;
}

/**
 * Listens on an address. The file of a unix socket that nobody answers on any more is replaced.
 *
 * @throws {EnvironmentError} when the address cannot be had, with what to do about it.
 */
export async function openListener(address: ListenAddress, setup: ListenerSetup): Promise<Listener> {
  try {
    return await bind(address, setup);
  } catch (error) {
    if (address.kind === 'unix' && systemCodeOf(error) === 'EADDRINUSE') {
      await removeStaleSocket(address.path);
      return await bind(address, setup).catch((second: unknown) => {
        throw listenError(address, second);
      });
    }
    throw listenError(address, error);
  }
}

async function bind(address: ListenAddress, setup: ListenerSetup): Promise<Listener> {
  // Half-open: a client that has said all it wants to say still gets its replies.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, setup.onConnection);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.removeListener('error', reject);
      resolve();
    });
    listenNow(server, address, setup.unixMode ?? DEFAULT_UNIX_MODE);
  });
  server.on('error', setup.onError);
  return { address: boundAddress(server, address), close: () => closeServer(server) };
}

function listenNow(server: Server, address: ListenAddress, unixMode: number): void {
  if (address.kind === 'fd') {
    server.listen({ fd: address.fd, backlog: BACKLOG });
    return;
  }
  if (address.kind === 'tcp') {
    server.listen({ host: address.host, port: address.port, backlog: BACKLOG });
    return;
  }
  // The file is made within the call of listen, for its owner alone, and only then opened up as far as was asked: at no
  // moment can others connect who should not.
  const mask = process.umask(0o177);
  try {
    server.listen({ path: address.path, backlog: BACKLOG });
  } finally {
    process.umask(mask);
  }
  if (server.listening) chmodSync(address.path, unixMode);
}

function boundAddress(server: Server, address: ListenAddress): BoundAddress {
  if (address.kind === 'unix') return address;
  const actual = server.address();
  if (actual !== null && typeof actual !== 'string') {
    return { kind: 'tcp', host: address.kind === 'tcp' ? address.host : actual.address, port: actual.port };
  }
  assert(address.kind === 'fd', 'a socket without an address');
  return { kind: 'unix', path: unixPathOf(address.fd) };
}

function closeServer(server: Server): Promise<void> {
  // The callback waits for the connections, too; they are ended by their owner.
  server.close();
  return Promise.resolve();
}

/** Removes the file of a socket that nobody answers on. @throws {EnvironmentError} when it is anything else. */
async function removeStaleSocket(path: string): Promise<void> {
  const where = `unix:${path}`;
  if (!lstatSync(path).isSocket()) {
    throw new EnvironmentError(
      `Cannot listen on ${where}: there is a file that is not a socket. Choose another path.`,
    );
  }
  if (await isAnswered(path)) {
    throw new EnvironmentError(
      `Cannot listen on ${where}: another server answers there. Stop it, or choose another path.`,
    );
  }
  unlinkSync(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: nobody listens. Anything else, such as a full queue or no permission, is somebody's socket.
    socket.once('error', (error) => resolve(systemCodeOf(error) !== 'ECONNREFUSED'));
  });
}

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use. Stop what listens there, or choose another port (0 picks a free one).',
  EADDRNOTAVAIL: 'this machine does not have that address. Choose one that it has, such as 127.0.0.1.',
  EBADF: 'there is no such descriptor. Whoever starts this program has to pass the socket on.',
  EINVAL: 'the descriptor is not a socket that can be listened on.',
  ENOTSUP: 'the descriptor is not a socket that can be listened on.',
  ERR_INVALID_FD_TYPE: 'the descriptor is not a socket that can be listened on.',
  EACCES: 'there is no permission to. Choose a port above 1023, or a folder that you may write to.',
  ENOTFOUND: 'the host name is not known. Write an address such as 127.0.0.1.',
  EAI_AGAIN: 'the host name could not be looked up. Write an address such as 127.0.0.1.',
};

function listenError(address: ListenAddress, error: unknown): unknown {
  if (error instanceof EnvironmentError) return error;
  const advice = adviceFor(address, error);
  return new EnvironmentError(`Cannot listen on ${formatListenAddress(address)}: ${advice}`, {
    cause: error,
  });
}

function adviceFor(address: ListenAddress, error: unknown): string {
  // Node.js reports a folder that does not exist as one without permission, as it would be on Windows.
  if (address.kind === 'unix' && !existsSync(dirname(address.path))) {
    return 'the folder of the socket does not exist. Make it, or choose another path.';
  }
  return ADVICE[systemCodeOf(error) ?? ''] ?? `${messageOf(error)}.`;
}
