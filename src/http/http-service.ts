import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { EnvironmentError, messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { systemReason } from '../util/system-reason.js';
import { Access } from './access.js';
import { answerText } from './answers.js';
import { Routes } from './routes.js';
import type { FileBrowser } from './file-browser.js';
import type { ServerFigures } from './status-document.js';

/** What the service is made of. */
export interface HttpServiceOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** What clients have to know. Default: nothing. */
  readonly token?: string | undefined;
  readonly figures: ServerFigures;
  /** Default: files are not shown. */
  readonly files?: FileBrowser | undefined;
  readonly logger: Logger;
}

/** A service that listens. */
export interface HttpService {
  /** Where browsers find it. */
  readonly url: string;
  /** Sockets that are open. */
  readonly connectionCount: () => number;
  /** Cuts every client. */
  close(): Promise<void>;
}

/** Browsers open up to six each. */
const CONNECTIONS_MAX = 64;
const HEADER_BYTES_MAX = 8192;
/** Whoever has not said what it wants by then is hung up on. */
const REQUEST_TIMEOUT_MS = 5000;
const KEEP_ALIVE_MS = 5000;
/** Whoever takes nothing of an answer for so long is hung up on. */
const IDLE_TIMEOUT_MS = 30_000;

/**
 * Serves the page, the figures and the files. Clients are bounded in number, size and time, so that a slow or hostile one
 * costs the disks nothing.
 *
 * @throws {EnvironmentError} when the address cannot be had.
 */
export async function openHttpService(options: HttpServiceOptions): Promise<HttpService> {
  const { host, port, token, figures, files, logger } = options;
  const access = new Access({ token });
  const routes = new Routes({ figures, files, access, logger });
  const sockets = new Set<Socket>();
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => handle(request, response, routes, logger),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.setTimeout(IDLE_TIMEOUT_MS, (socket) => socket.destroy());
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // Not HTTP, or too much of it.
  server.on('clientError', (_error, socket) => socket.destroy());
  await listen(server, host, port);
  // Of a client that the system could not let in: without this it would end the process.
  server.on('error', (error) => {
    logger.warn('a client of the page could not be accepted', { error: messageOf(error) });
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}/`,
    connectionCount: () => sockets.size,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      routes.close();
    },
  };
}

function handle(request: IncomingMessage, response: ServerResponse, routes: Routes, logger: Logger): void {
  response.on('error', () => response.destroy());
  routes.handle(request, response).catch((error: unknown) => {
    logger.warn('a request to the page failed', { error: messageOf(error) });
    if (response.headersSent) response.destroy();
    else answerText(response, 500, 'The request failed: see the log of the server.');
  });
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown): void => {
      reject(
        new EnvironmentError(
          `Cannot show the page at ${host}:${port}: ${systemReason(error)}. Give another address with --http.`,
          { cause: error },
        ),
      );
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      resolve();
    });
  });
}
