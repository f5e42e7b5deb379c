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
    return this.#idle.pop() ?? createServer({ ...this.#credentials.options });
  }

  #giveServer(server: Server, generation: number): void {
    if (generation === this.#idleGeneration && this.#idle.length < IDLE_SERVERS_MAX) this.#idle.push(server);
  }
}

async function handshake(server: Server, socket: Socket): Promise<TLSSocket> {
  let hungUp = (): void => undefined;
  try {
    const secure = await new Promise<TLSSocket>((resolve, reject) => {
      server.once('secureConnection', resolve);
      server.once('tlsClientError', reject);
      hungUp = () => reject(new Error('the client hung up'));
      // A client that hangs up its side has no more to say, and its handshake will never end. The encrypted socket
      // takes this over from the plain one, which is heard of only until then.
      socket.allowHalfOpen = false;
      socket.once('end', hungUp);
      // A socket that is gone before it has begun would never be heard of again.
      if (socket.destroyed || socket.readableEnded) hungUp();
      else server.emit('connection', socket);
    });
    // From here on a client that has said all it wants to say still gets its replies.
    secure.allowHalfOpen = true;
    return secure;
  } finally {
    socket.off('end', hungUp);
  }
}
