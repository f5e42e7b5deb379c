import type { IncomingMessage } from 'node:http';
import { frameworkError } from '../errors.js';

/** Thrown when the client goes away before its request is complete. Nobody is left to be answered. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

/** The body of one request: read once, in bounded memory, or drained. */
export class RequestBody {
  readonly #message: IncomingMessage;
  #bytesRead = 0;

  constructor(message: IncomingMessage) {
    this.#message = message;
  }

  /** Bytes that were read from it so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** The length that the client declared, or undefined for a chunked body. */
  get declaredBytes(): number | undefined {
    const { headers } = this.#message;
    if (headers['transfer-encoding'] !== undefined) return undefined;
    return Number(headers['content-length'] ?? 0);
  }

  /**
   * The body as text.
   *
   * @throws {ApiError} when it is longer than `bytesMax`; {@link ClientGoneError}.
   */
  async readText(bytesMax: number): Promise<string> {
    const chunks: Buffer[] = [];
    await this.#consume(bytesMax, (chunk) => chunks.push(chunk));
    if (this.#bytesRead > bytesMax)
      throw frameworkError('RequestEntityTooLargeException', `The body is longer than ${bytesMax} bytes.`);
    return Buffer.concat(chunks).toString('utf8');
  }

  /**
   * The body into `target`.
   *
   * @returns its length; `target.length + 1` stands for anything longer.
   * @throws {ClientGoneError}
   */
  async readInto(target: Buffer): Promise<number> {
    await this.#consume(target.length, (chunk, start) => chunk.copy(target, start));
    return Math.min(this.#bytesRead, target.length + 1);
  }

  /** Reads and forgets what is left, up to `bytesMax`. @throws {ClientGoneError} */
  async drain(bytesMax: number): Promise<void> {
    if (this.#message.readableEnded || this.#isEmpty()) return;
    await this.#consume(this.#bytesRead + bytesMax, () => undefined);
  }

  /** True for requests that have no body, most of all: waiting for its end would cost each of them a turn. */
  #isEmpty(): boolean {
    return this.#message.complete && this.declaredBytes === 0;
  }

  /** Hands over chunks until the body ends or is longer than `bytesMax`. */
  #consume(bytesMax: number, take: (chunk: Buffer, start: number) => void): Promise<void> {
    const message = this.#message;
    const { socket } = message;
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        message.off('data', onData).off('end', onEnd).off('error', onGone);
        socket.off('close', onGone);
        message.pause();
        settle();
      };
      const onData = (chunk: Buffer): void => {
        const start = this.#bytesRead;
        this.#bytesRead += chunk.length;
        if (this.#bytesRead > bytesMax) finish(resolve);
        else take(chunk, start);
      };
      const onEnd = (): void => finish(resolve);
      const onGone = (): void => finish(() => reject(new ClientGoneError('the client went away')));
      if (message.readableEnded) {
        resolve();
        return;
      }
      message.on('data', onData).on('end', onEnd).on('error', onGone);
      // The message itself says nothing when the connection ends after its answer has been sent.
      socket.on('close', onGone);
      if (socket.destroyed) onGone();
      // A stream that was paused before stays so, whoever listens.
      else message.resume();
    });
  }
}
