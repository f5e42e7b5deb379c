import type { ServerResponse } from 'node:http';
import type { ApiAnswer } from '../operations/operation.js';

/** How much of an answer left. */
export interface Sent {
  /** Bytes of the body that were handed to the connection. */
  readonly bytesOut: number;
  /** False when the client went away before the end. */
  readonly complete: boolean;
}

/**
 * Sends an answer and waits until it has left, or the client has.
 *
 * The pieces go to the socket as they are. They may be reused after this: a closed socket reads nothing more.
 */
export function sendAnswer(
  response: ServerResponse,
  answer: Pick<ApiAnswer, 'status' | 'headers' | 'pieces'>,
): Promise<Sent> {
  const bytesOut = lengthOf(answer.pieces);
  return new Promise((resolve) => {
    if (response.closed) {
      resolve({ bytesOut: 0, complete: false });
      return;
    }
    response.once('close', () => resolve({ bytesOut, complete: response.writableFinished }));
    response.writeHead(answer.status, { ...answer.headers, 'Content-Length': bytesOut });
    // Headers and pieces leave in one call of the system.
    response.cork();
    for (const piece of answer.pieces) response.write(piece);
    response.end();
  });
}

/**
 * Sends the headers and a part of the body, then cuts the connection.
 *
 * @param share how much of the body leaves, from 0 to 1; never all of it.
 */
export function sendAndCut(
  response: ServerResponse,
  answer: Pick<ApiAnswer, 'status' | 'headers' | 'pieces'>,
  share: number,
): Promise<Sent> {
  const body = Buffer.concat(answer.pieces);
  const bytesOut = Math.floor(share * body.length);
  return new Promise((resolve) => {
    if (response.closed) {
      resolve({ bytesOut: 0, complete: false });
      return;
    }
    response.once('close', () => resolve({ bytesOut, complete: false }));
    response.writeHead(answer.status, { ...answer.headers, 'Content-Length': body.length });
    response.flushHeaders();
    response.write(body.subarray(0, bytesOut), () => response.destroy());
  });
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}
