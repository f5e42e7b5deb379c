import { onAbort } from '../util/abort-callbacks.js';
import type { Clock } from '../util/clock.js';
import { timeoutError, toEbsError } from './error-map.js';
import type { CallSubject } from './error-text.js';

/** The bounds of one call. */
export interface CallScope {
  readonly clock: Clock;
  /** From the start of the call to the last byte of its answer, in milliseconds. */
  readonly timeoutMs: number;
  /** The caller's. */
  readonly signal: AbortSignal | undefined;
  /** What the call is about; asked only when it fails. */
  readonly subject: () => CallSubject;
}

/**
 * Runs one call under a time limit and the caller's signal. `run` gets a signal that aborts in both cases, but the
 * promise settles at once whether `run` follows it or not.
 *
 * @throws {EbsError} for anything that `run` throws, and for the time limit; the signal's reason when it aborted.
 */
export async function runCall<T>(scope: CallScope, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, timeoutMs, signal, subject } = scope;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const stop = new Promise<never>((_resolve, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), {
      once: true,
    });
  });
  const timer = clock.setTimer(timeoutMs, () => controller.abort(timeoutError(subject(), timeoutMs)));
  const leave = onAbort(signal, () => controller.abort(signal?.reason));
  try {
    return await Promise.race([run(controller.signal), stop]);
  } catch (error) {
    // Whatever the abort made of the call, its reason is what happened.
    if (controller.signal.aborted) throw controller.signal.reason;
    throw toEbsError(error, subject());
  } finally {
    timer.cancel();
    leave();
  }
}
