import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RequestBody } from './request-body.js';

/** What a client may still send after its answer, so that it reads the answer rather than meets a reset. */
export const DRAIN_MAX_BYTES = 1024 * 1024;

/** What goes back. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  /** The body, which goes to the socket as it is. */
  readonly pieces: readonly Buffer[];
}

/** How much of an answer left. */
export interface Sent {
  /** Bytes of the body that were handed to the connection. */
  readonly bytesOut: number;
  /** False when the client went away before the end. */
  readonly complete: boolean;
}

const NOTHING_SENT: Sent = { bytesOut: 0, complete: false };

/** One HTTP request and its answer. */
export class Exchange {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly queryText: string;
  readonly body: RequestBody;
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(message: IncomingMessage, response: ServerResponse) {
    const url = message.url ?? '/';
    const queryAt = url.indexOf('?');
    this.method = message.method ?? '';
    this.path = queryAt < 0 ? url : url.slice(0, queryAt);
    this.queryText = queryAt < 0 ? '' : url.slice(queryAt + 1);
    this.body = new RequestBody(message);
    this.#message = message;
    this.#response = response;
    // A client that leaves while it is being answered is found by 'close', and is no fault of anybody here.
    response.on('error', () => response.destroy());
  }

  /** The value of a header, by its name in lower case. */
  header(name: string): string | undefined {
    const value = this.#message.headers[name];
    return Array.isArray(value) ? value.join(',') : value;
  }

  /**
   * Sends an answer and waits until it has left, or the client has. What a client sends beyond what was read is read
   * and forgotten before that, so that the answer does not meet a reset; a client that sends much more than it may
   * is answered at once, and cut off.
   *
   * The pieces may be reused after this: a closed socket reads nothing more.
   *
   * @throws {ClientGoneError} when the client leaves before its request is complete.
   */
  async send(answer: HttpAnswer): Promise<Sent> {
    if ((this.body.declaredBytes ?? Infinity) <= DRAIN_MAX_BYTES) {
      await this.body.drain(DRAIN_MAX_BYTES);
      return this.#send(answer, {});
    }
    const sent = await this.#send(answer, { Connection: 'close' });
    await this.body.drain(DRAIN_MAX_BYTES);
    this.cut();
    return sent;
  }

  /**
   * Sends the headers and a part of the body, then cuts the connection.
   *
   * @param share how much of the body leaves, at least 0 and below 1.
   */
  sendAndCut(answer: HttpAnswer, share: number): Promise<Sent> {
    const response = this.#response;
    if (response.closed || response.destroyed) return Promise.resolve(NOTHING_SENT);
    const body = Buffer.concat(answer.pieces);
    const bytesOut = Math.floor(share * body.length);
    return new Promise((resolve) => {
      response.once('close', () => resolve({ bytesOut, complete: false }));
      this.#writeHead(answer, body.length, {});
      response.flushHeaders();
      response.write(body.subarray(0, bytesOut), () => response.destroy());
    });
  }

  /** Cuts the connection. */
  cut(): void {
    this.#message.socket.destroy();
  }

  #send(answer: HttpAnswer, extra: Readonly<Record<string, string>>): Promise<Sent> {
    const response = this.#response;
    if (response.closed || response.destroyed) return Promise.resolve(NOTHING_SENT);
    const { pieces } = answer;
    const bytesOut = pieces.reduce((sum, piece) => sum + piece.length, 0);
    return new Promise((resolve) => {
      response.once('close', () => resolve({ bytesOut, complete: response.writableFinished }));
      this.#writeHead(answer, bytesOut, extra);
      // Headers and pieces leave in one call of the system.
      response.cork();
      for (const piece of pieces.slice(0, -1)) response.write(piece);
      response.end(pieces.at(-1));
    });
  }

  #writeHead(answer: HttpAnswer, lengthBytes: number, extra: Readonly<Record<string, string>>): void {
    this.#response.writeHead(answer.status, {
      'x-amzn-RequestId': randomUUID(),
      ...answer.headers,
      'Content-Length': lengthBytes,
      ...extra,
    });
  }
}
