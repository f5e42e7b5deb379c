import { Transform, type Readable, type TransformCallback } from 'node:stream';
import { MIB } from '../util/units.js';

/** 10,000 blocks with two tokens of 256 characters each, as JSON, come to 6 MiB; a block to half of one. */
export const ANSWER_BYTES_MAX = 16 * MIB;

/** An answer as the HTTP client hands it on: the head is there, the body is still to be read. */
export interface HttpAnswer {
  readonly headers: Readonly<Record<string, string>>;
  body?: unknown;
}

/**
 * Bounds what the answer's body can bring into memory, for whoever gathers it. A body that declares its length is
 * checked by that alone.
 *
 * @throws when the declared length is beyond the bound; a body that turns out to be ends in an error.
 */
export function boundAnswer(answer: HttpAnswer): void {
  const body = answer.body as Readable;
  const declared = answer.headers['content-length'];
  if (declared === undefined) {
    const bounded = new BoundedBody();
    // It may fail before anybody gathers it, who then finds it destroyed; without a listener that would be a crash.
    bounded.on('error', () => undefined);
    // An error of the connection has to reach the reader, which `pipe` alone does not do.
    body.once('error', (error) => bounded.destroy(error));
    body.once('close', () => {
      if (!body.readableEnded) bounded.destroy(cutError());
    });
    bounded.once('close', () => body.destroy());
    answer.body = body.pipe(bounded);
  } else if (Number(declared) > ANSWER_BYTES_MAX) {
    body.destroy();
    throw tooLongError();
  }
}

class BoundedBody extends Transform {
  #lengthBytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#lengthBytes += chunk.length;
    if (this.#lengthBytes > ANSWER_BYTES_MAX) done(tooLongError());
    else done(null, chunk);
  }
}

/** What an answer beyond {@link ANSWER_BYTES_MAX} ends in. */
export function tooLongError(): Error {
  return Object.assign(new Error(`the answer is longer than ${ANSWER_BYTES_MAX} bytes`), {
    name: 'SyntaxError',
  });
}

function cutError(): Error {
  return Object.assign(new Error('the connection was cut in the middle of the answer'), {
    code: 'ECONNRESET',
  });
}
