import type { RawAnswer } from './http-answer.js';
import { HttpConnection, type OpenSocket, type RawRequest } from './http-connection.js';

/**
 * Connections to one endpoint: as many as there are requests under way, those that are idle kept for the next. The one
 * that was used last is used first, so that a server that closes idle ones closes those that are not needed.
 */
export class HttpPool {
  readonly #open: OpenSocket;
  readonly #idleMax: number;
  readonly #idle: HttpConnection[] = [];
  readonly #busy = new Set<HttpConnection>();
  #isClosed = false;

  /** @param idleMax connections that are kept while nobody needs them. */
  constructor(open: OpenSocket, idleMax: number) {
    this.#open = open;
    this.#idleMax = idleMax;
  }

  /**
   * Sends a request and resolves to its answer, whatever its status. A connection that the server has closed while it
   * was idle is found out only by using it: the request is then made once more at once, on a new one.
   * [RFC 9112: 9.3.1 Retrying Requests]
   *
   * @param signal cuts the connection when it aborts.
   * @throws what became of the connection, or the signal's reason.
   */
  async send(request: RawRequest, signal: AbortSignal): Promise<RawAnswer> {
    const idle = this.#takeIdle();
    if (idle !== undefined) {
      try {
        return await this.#exchange(idle, request, signal);
      } catch (error) {
        if (!idle.wasStale || signal.aborted) throw error;
      }
    }
    const fresh = await HttpConnection.open(this.#open, (connection) => this.#forget(connection), signal);
    return this.#exchange(fresh, request, signal);
  }

  /** Closes all connections. Requests under way fail. */
  close(): void {
    this.#isClosed = true;
    const reason = Object.assign(new Error('the client was closed'), { code: 'ECONNABORTED' });
    for (const connection of [...this.#idle.splice(0), ...this.#busy]) connection.destroy(reason);
  }

  async #exchange(connection: HttpConnection, request: RawRequest, signal: AbortSignal): Promise<RawAnswer> {
    this.#busy.add(connection);
    const cut = (): void => connection.destroy(signal.reason as Error);
    signal.addEventListener('abort', cut, { once: true });
    try {
      return await connection.exchange(request);
    } finally {
      signal.removeEventListener('abort', cut);
      this.#busy.delete(connection);
      this.#keep(connection);
    }
  }

  #takeIdle(): HttpConnection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined || connection.isReusable) return connection;
    }
  }

  #keep(connection: HttpConnection): void {
    if (!connection.isReusable) return;
    if (this.#isClosed || this.#idle.length >= this.#idleMax) connection.destroy();
    else this.#idle.push(connection);
  }

  #forget(connection: HttpConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}
