import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { Clock } from '../util/clock.js';
import type { OpenSocket, ReadTarget } from './http-connection.js';
import type { NetworkSettings } from './network-settings.js';
import { openTunnel } from './proxy-tunnel.js';

/** Where connections go. */
export interface SocketTarget {
  readonly isTls: boolean;
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly network: NetworkSettings;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
}

const KEEP_ALIVE_PROBE_MS = 15_000;

/**
 * Opens connections to one host, by TLS and through a proxy where that is wanted, each of them ready for a request when
 * it resolves. What they read goes straight to the buffers of their reader; through a proxy it is copied there.
 *
 * @throws what became of it; an error named `TimeoutError` when it took too long; the signal's reason.
 */
export function socketOpener(target: SocketTarget): OpenSocket {
  let session: Buffer | undefined;
  return async (onread, signal) => {
    signal.throwIfAborted();
    const attempt = new AbortController();
    const stop = (): void => attempt.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const timer = target.clock.setTimer(target.connectTimeoutMs, () => attempt.abort(connectTimeout(target)));
    try {
      return await open(target, onread, attempt.signal, session, (next) => (session = next));
    } catch (error) {
      throw attempt.signal.aborted ? attempt.signal.reason : error;
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', stop);
    }
  };
}

async function open(
  target: SocketTarget,
  onread: ReadTarget,
  signal: AbortSignal,
  session: Buffer | undefined,
  keepSession: (session: Buffer) => void,
): Promise<Socket> {
  const { host, port, isTls, network } = target;
  const place = { host, port };
  if (!isTls) return settle(connectTcp({ ...place, onread: readOptions(onread) }), 'connect', signal);
  const proxy = network.proxyFor(host, port);
  const options: ConnectionOptions = {
    // A name, that is: TLS has no place for an address.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(network.ca === undefined ? {} : { ca: network.ca }),
    ...(session === undefined ? {} : { session }),
    ALPNProtocols: ['http/1.1'],
  };
  const socket =
    proxy === undefined
      ? connectTls({ ...place, ...options, ...{ onread: readOptions(onread) } })
      : connectTls({
          ...place,
          ...options,
          socket: await openTunnel(proxy, { ...place, ca: network.ca, signal }),
        });
  // Node.js reads into buffers of one's own only where it opens the connection itself.
  if (proxy !== undefined) socket.on('data', (chunk: Buffer) => copyInto(onread, chunk, socket));
  socket.on('session', keepSession);
  return settle(socket, 'secureConnect', signal);
}

function settle(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<Socket> {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => void socket.destroy(signal.reason as Error);
    const onClose = (): void => reject(closedError());
    const leave = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('close', onClose).off('error', onError);
    };
    const onError = (error: Error): void => {
      // What comes after the first one says nothing new, but without a listener it would end the process.
      socket.on('error', () => undefined);
      leave();
      reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    socket.on('error', onError).once('close', onClose);
    socket.once(event, () => {
      leave();
      resolve(socket);
    });
  });
}

function readOptions({ buffer, callback }: ReadTarget): OnReadOpts {
  return { buffer, callback };
}

function copyInto(onread: ReadTarget, chunk: Buffer, socket: Socket): void {
  for (let at = 0; at < chunk.length && !socket.destroyed;) {
    const part = chunk.subarray(at, at + onread.buffer().length);
    onread.buffer().set(part);
    at += part.length;
    if (!onread.callback(part.length)) return;
  }
}

function connectTimeout({ host, port, connectTimeoutMs }: SocketTarget): Error {
  const text = `no connection to ${host} port ${port} within ${connectTimeoutMs} ms`;
  return Object.assign(new Error(text), { name: 'TimeoutError' });
}

function closedError(): Error {
  return Object.assign(new Error('the connection was closed before it was of any use'), {
    code: 'ECONNRESET',
  });
}
