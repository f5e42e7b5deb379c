import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { TlsCredentials } from './tls-credentials.js';

/** Handshakes that go on at the same time rarely are more; further ones make a server of their own. */
const IDLE_SERVERS_MAX = 8;

/**
 * Encrypts connections that are under way.
 *
 * It lets a `tls.Server` that never listens do it, into which the socket is put: the documented way to have client
 * certificates checked. A server takes one handshake at a time, so that what it reports belongs to that one.
 */
export class TlsUpgrader {
  readonly #credentials: TlsCredentials;
  #idle: Server[] = [];
  #idleGeneration = 0;

  constructor(credentials: TlsCredentials) {
    this.#credentials = credentials;
  }

  /**
   * Does the handshake on a socket that nobody reads from any more.
   *
   * @returns the socket to go on with; destroying `socket` ends the handshake.
   * @throws {Error} when the handshake fails; the socket is of no use then.
   */
  async upgrade(socket: Socket): Promise<TLSSocket> {
    const generation = this.#credentials.generation;
    const server = this.#takeServer(generation);
    try {
      return await handshake(server, socket);
    } finally {
      server.removeAllListeners('secureConnection');
      server.removeAllListeners('tlsClientError');
      this.#giveServer(server, generation);
    }
  }

  #takeServer(generation: number): Server {
    if (generation !== this.#idleGeneration) {
      this.#idle = [];
      this.#idleGeneration = generation;
    }
    return this.#idle.pop() ?? createServer({ ...this.#credentials.options, allowHalfOpen: true });
  }

  #giveServer(server: Server, generation: number): void {
    if (generation === this.#idleGeneration && this.#idle.length < IDLE_SERVERS_MAX) this.#idle.push(server);
  }
}

function handshake(server: Server, socket: Socket): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    server.once('secureConnection', resolve);
    server.once('tlsClientError', reject);
    // A socket that is gone before it has begun would never be heard of again.
    if (socket.destroyed) reject(new Error('the client hung up'));
    else server.emit('connection', socket);
  });
}
