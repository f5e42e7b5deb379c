import { chmod, open, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { messageOf, SnapnbdError, systemCodeOf } from '../util/errors.js';
import type { CommitProgress } from '../writer/commit.js';
import type { CommitResult } from '../writer/fork.js';
import type { ExpressedWishes } from '../writer/fork-facts.js';

const SOCKET_NAME = 'control.sock';
/** The bound of the system on the path of a socket, the NUL aside. */
const SOCKET_PATH_BYTES_MAX = 107;
/** A request with 50 tags of the longest kind, and then some. */
const REQUEST_BYTES_MAX = 256 * 1024;

/** What `snapnbd commit` asks of the server that has the fork. */
export interface ControlRequest {
  readonly command: 'commit';
  readonly wishes: ExpressedWishes;
  readonly live: boolean;
  readonly noWait: boolean;
}

/** What the server answers, a line each; the last one is a result or an error. */
export type ControlAnswer =
  { readonly progress: CommitProgress } | { readonly result: CommitResult } | { readonly error: string };

/** A control socket that listens. */
export interface ForkControl {
  close(): Promise<void>;
}

/**
 * Listens in the folder of a fork, which this process owns, for commands of the same user.
 *
 * @param carryOut carries out a request; what it throws goes to whoever asked.
 */
export async function listenForCommands(
  folder: string,
  carryOut: (
    request: ControlRequest,
    onProgress: (progress: CommitProgress) => void,
  ) => Promise<CommitResult>,
): Promise<ForkControl> {
  await rm(join(folder, SOCKET_NAME), { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // Whoever asked may go away; what was begun goes on.
    socket.on('error', () => socket.destroy());
    answer(socket, carryOut).catch(() => socket.destroy());
  });
  const place = await socketPlace(folder);
  try {
    await listen(server, place.path);
  } finally {
    await place.close();
  }
  // The system could not let somebody in, who hears of it; without this it would end the process.
  server.on('error', () => undefined);
  await chmod(join(folder, SOCKET_NAME), 0o600);
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await rm(join(folder, SOCKET_NAME), { force: true });
    },
  };
}

/**
 * Sends a request to the server that has a fork.
 *
 * @returns undefined when no server has it.
 * @throws {SnapnbdError} what the server answers, or that it went away.
 */
export async function sendCommand(
  folder: string,
  request: ControlRequest,
  onProgress: (progress: CommitProgress) => void,
): Promise<CommitResult | undefined> {
  const socket = await tryConnect(folder);
  if (socket === undefined) return undefined;
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of createInterface({ input: socket })) {
      const message = JSON.parse(line) as ControlAnswer;
      if ('error' in message) throw new SnapnbdError(message.error);
      if ('result' in message) return message.result;
      onProgress(message.progress);
    }
  } finally {
    socket.destroy();
  }
  throw new SnapnbdError(
    'Cannot say what came of the commit: the server that has the fork went away. Run it again to finish it.',
  );
}

async function answer(
  socket: Socket,
  carryOut: (
    request: ControlRequest,
    onProgress: (progress: CommitProgress) => void,
  ) => Promise<CommitResult>,
): Promise<void> {
  const send = (message: ControlAnswer): void => {
    // A reader that does not read loses progress, not the result.
    if (!socket.destroyed && (!('progress' in message) || socket.writableLength === 0)) {
      socket.write(`${JSON.stringify(message)}\n`);
    }
  };
  try {
    const request = JSON.parse(await readLine(socket)) as ControlRequest;
    send({ result: await carryOut(request, (progress) => send({ progress })) });
  } catch (error) {
    send({ error: messageOf(error) });
  }
  socket.end();
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (part: string) => {
      text += part;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > REQUEST_BYTES_MAX) reject(new SnapnbdError('the request is too long'));
    });
    socket.once('close', () => reject(new SnapnbdError('the request was cut off')));
  });
}

/** The path by which a socket can be reached however deep its folder lies. */
async function socketPlace(folder: string): Promise<{ readonly path: string; close(): Promise<void> }> {
  const path = join(folder, SOCKET_NAME);
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return { path, close: () => Promise.resolve() };
  const handle = await open(folder);
  return { path: `/proc/self/fd/${handle.fd}/${SOCKET_NAME}`, close: () => handle.close() };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function tryConnect(folder: string): Promise<Socket | undefined> {
  const place = await socketPlace(folder);
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(place.path);
      socket.once('error', (error) => {
        const code = systemCodeOf(error);
        if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(undefined);
        else reject(error);
      });
      socket.once('connect', () => resolve(socket));
    });
  } finally {
    await place.close();
  }
}
