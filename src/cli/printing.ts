import { once } from 'node:events';
import { systemCodeOf } from '../util/errors.js';

/** Whoever read standard output has gone, as `head` does: there is nothing left to do, and nobody to be told. */
export class ReaderGoneError extends Error {
  override readonly name = 'ReaderGoneError';
}

/**
 * Writes to standard output, no faster than it is read.
 *
 * @throws {ReaderGoneError} when it is read no more.
 */
export async function print(text: string): Promise<void> {
  if (process.stdout.write(text)) return;
  try {
    await once(process.stdout, 'drain');
  } catch (error) {
    throw systemCodeOf(error) === 'EPIPE' ? new ReaderGoneError('nobody reads what is printed') : error;
  }
}
