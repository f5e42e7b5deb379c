import type { Readable } from 'node:stream';
import { blockBuffers } from './block-buffers.js';
import { answerError } from './error-map.js';
import type { CallSubject } from './error-text.js';
import { BLOCK_BYTES } from './constants.js';
import { EbsErrorKind } from './errors.js';

/**
 * Reads the body of GetSnapshotBlock straight into its one buffer. A body that is longer than a block is cut off
 * and refused, so that no answer can take more memory than a block; a shorter one is returned as short as it is.
 *
 * @param signal destroys the body when it aborts.
 * @throws {EbsError} `corrupt-block` when the body is too long; what the stream emits, or the signal's reason.
 */
export function readBlockBody(
  body: Readable,
  signal: AbortSignal,
  subject: () => CallSubject,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (body.destroyed) {
      reject(body.errored ?? cutError());
      return;
    }
    const block = blockBuffers.take();
    let lengthBytes = 0;
    const onAbort = (): void => void body.destroy(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    body.on('data', (chunk: Buffer) => {
      if (lengthBytes + chunk.length > BLOCK_BYTES) {
        const reason = `more than ${BLOCK_BYTES} bytes arrived`;
        body.destroy(answerError(EbsErrorKind.CorruptBlock, subject(), reason));
        return;
      }
      block.set(chunk, lengthBytes);
      lengthBytes += chunk.length;
    });
    body.once('end', () => resolve(lengthBytes === BLOCK_BYTES ? block : block.subarray(0, lengthBytes)));
    body.once('error', reject);
    body.once('close', () => {
      signal.removeEventListener('abort', onAbort);
      // Of no effect after 'end' or 'error'; without either, the connection was cut in the middle.
      reject(cutError());
    });
  });
}

function cutError(): Error {
  return Object.assign(new Error('the connection was cut in the middle of the block'), {
    code: 'ECONNRESET',
  });
}
