import type { Socket } from 'node:net';
import { AnswerFormatError, type AnswerHead, type BodyRoom, type RawAnswer } from './http-answer.js';
import { AnswerReader } from './http-answer-reader.js';

/** A request as it goes over the wire. */
export interface RawRequest {
  /** From the request line to the empty line. */
  readonly head: string;
  readonly body?: Uint8Array | undefined;
  /** How much room the answer's body has. */
  readonly roomOf: (head: AnswerHead) => BodyRoom;
}

/** What a socket's owner tells the connection. */
export interface ReadTarget {
  /** Where the socket puts what it reads next. */
  readonly buffer: () => Uint8Array;
  /** So much of it is there. False: read no more. */
  readonly callback: (countBytes: number) => boolean;
}

/** Opens a socket that is ready for a request and hands what it reads to `onread`. */
export type OpenSocket = (onread: ReadTarget, signal: AbortSignal) => Promise<Socket>;

interface Exchange {
  readonly resolve: (answer: RawAnswer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection of HTTP/1.1: one request at a time, and the bytes of its answer straight to their place. It is used
 * again as long as both sides keep it.
 */
export class HttpConnection {
  readonly #reader: AnswerReader;
  readonly #socket: Socket;
  readonly #onEnd: (connection: HttpConnection) => void;
  #exchange: Exchange | undefined;
  #failure: Error | undefined;
  #exchangeCount = 0;

  private constructor(socket: Socket, reader: AnswerReader, onEnd: (connection: HttpConnection) => void) {
    this.#socket = socket;
    this.#reader = reader;
    this.#onEnd = onEnd;
    socket.on('error', (error) => this.destroy(error));
    socket.on('end', () => this.#ended());
    socket.on('close', () => {
      this.#ended();
      this.#onEnd(this);
    });
  }

  /**
   * Opens a connection.
   *
   * @param onEnd is called when it is of no use any more.
   * @throws what `open` throws.
   */
  static async open(
    open: OpenSocket,
    onEnd: (connection: HttpConnection) => void,
    signal: AbortSignal,
  ): Promise<HttpConnection> {
    const reader = new AnswerReader();
    let isEarly = false as boolean;
    let take = (_countBytes: number): boolean => {
      isEarly = true;
      return false;
    };
    const onread = {
      buffer: (): Uint8Array => reader.target(),
      callback: (countBytes: number): boolean => take(countBytes),
    };
    const connection = new HttpConnection(await open(onread, signal), reader, onEnd);
    take = (countBytes) => connection.#received(countBytes);
    if (isEarly) connection.destroy(new AnswerFormatError('the endpoint sent something before it was asked'));
    return connection;
  }

  /** Another request may be sent. */
  get isReusable(): boolean {
    return this.#failure === undefined && this.#exchange === undefined;
  }

  /** The request that failed last was not the first one here, and nothing of its answer had come. */
  get wasStale(): boolean {
    return this.#exchangeCount > 1 && !this.#reader.hasBegun;
  }

  /**
   * Sends a request and resolves to its answer, whatever its status.
   *
   * @throws {AnswerFormatError}, {AnswerTooLongError}, or what became of the socket; the connection is of no use then.
   */
  exchange(request: RawRequest): Promise<RawAnswer> {
    this.#exchangeCount += 1;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#reader.begin(request.roomOf);
    return new Promise((resolve, reject) => {
      this.#exchange = { resolve, reject };
      const socket = this.#socket;
      if (request.body === undefined) {
        socket.write(request.head, 'latin1');
        return;
      }
      socket.cork();
      socket.write(request.head, 'latin1');
      socket.write(request.body);
      socket.uncork();
    });
  }

  /** Cuts the connection; a request that is under way fails with `reason`. */
  destroy(reason: Error = closedError()): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#failure ??= reason;
    this.#socket.destroy();
    exchange?.reject(reason);
  }

  #received(countBytes: number): boolean {
    try {
      this.#reader.received(countBytes);
    } catch (error) {
      this.destroy(error as Error);
      return false;
    }
    // Nobody asked for anything.
    if (this.#exchange === undefined) this.destroy();
    else if (this.#reader.isDone) this.#finish(this.#exchange);
    return this.#failure === undefined;
  }

  #finish(exchange: Exchange): void {
    this.#exchange = undefined;
    const answer = this.#reader.take();
    // The answer to a request that has not left yet: what is left of it must not be taken for another request.
    if (!this.#reader.mayGoOn || this.#socket.writableLength > 0) this.destroy();
    // What has arrived behind the answer is read before anybody sends another request here, to which it would seem to
    // belong.
    setImmediate(() => exchange.resolve(answer));
  }

  #ended(): void {
    if (this.#exchange !== undefined && this.#reader.end()) this.#finish(this.#exchange);
    this.destroy();
  }
}

function closedError(): Error {
  const text = 'the connection was closed before the answer was complete';
  return Object.assign(new Error(text), { code: 'ECONNRESET' });
}
