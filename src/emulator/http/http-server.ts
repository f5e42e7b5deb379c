import { lookup } from 'node:dns/promises';
import { createServer, type Server } from 'node:http';
import { BlockList, isIPv6, type AddressInfo } from 'node:net';
import type { Clock } from '../../util/clock.js';
import { EnvironmentError, messageOf, systemCodeOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { Exchange } from './exchange.js';

/** Connections beyond this are closed as they come. */
const CONNECTIONS_MAX = 4096;
/** Longer than clients keep an idle connection, so that they never find it closed under a request. */
const KEEP_ALIVE_MS = 75_000;
/** Idle longer than this within a request, a client is taken for gone, and what it holds is taken back. */
const IDLE_MAX_MS = 120_000;
/** How long requests under way may take when the server is closed. */
const CLOSE_GRACE_MS = 5_000;

export interface HttpServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Allows addresses that are not loopback. */
  readonly allowRemote: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Answers a request. What it throws ends the connection. */
  readonly handle: (exchange: Exchange) => Promise<void>;
}

export interface HttpServer {
  /** `http://ADDRESS:PORT` */
  readonly url: string;
  readonly port: number;
  /** Takes no more connections, waits a little for requests under way, then cuts the rest. */
  close(): Promise<void>;
  /** Resolves when nobody handles a request any more. */
  idle(): Promise<void>;
}

/**
 * Listens for HTTP requests.
 *
 * @throws {EnvironmentError} when the address cannot be used, or is not loopback and that was not allowed.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, allowRemote, clock, logger, handle } = options;
  const address = await resolveAddress(host, allowRemote);
  const underWay = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true }, (message, response) => {
    const handling = handle(new Exchange(message, response))
      .catch((error: unknown) => {
        logger.error('A request ended unexpectedly', { reason: messageOf(error) });
        response.destroy();
      })
      .finally(() => underWay.delete(handling));
    underWay.add(handling);
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.setTimeout(IDLE_MAX_MS);
  const boundPort = await listen(server, address, port);
  // Of a client that the system could not let in: without this it would end the process.
  server.on('error', (error) => {
    logger.warn('A client could not be accepted', { reason: messageOf(error) });
  });
  return {
    url: `http://${isIPv6(address) ? `[${address}]` : address}:${boundPort}`,
    port: boundPort,
    close: () => closeServer(server, clock),
    idle: async () => {
      await Promise.all(underWay);
    },
  };
}

async function resolveAddress(host: string, allowRemote: boolean): Promise<string> {
  let address: string;
  try {
    ({ address } = await lookup(host));
  } catch (error) {
    throw new EnvironmentError(`Cannot listen on ${host}: ${messageOf(error)}.`, { cause: error });
  }
  if (!allowRemote && !isLoopback(address)) {
    throw new EnvironmentError(
      `Cannot listen on ${host}: the emulator verifies no signatures, so it listens on loopback addresses only, unless --allow-remote is given.`,
    );
  }
  return address;
}

function isLoopback(address: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

function listen(server: Server, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const reason =
        systemCodeOf(error) === 'EADDRINUSE'
          ? 'the port is in use; name another one, or 0 for any free one'
          : messageOf(error);
      reject(new EnvironmentError(`Cannot listen on ${address} port ${port}: ${reason}.`, { cause: error }));
    });
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
  });
}

async function closeServer(server: Server, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = clock.setTimer(CLOSE_GRACE_MS, () => server.closeAllConnections());
  await closed;
  timer.cancel();
}
