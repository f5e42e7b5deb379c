import { setMaxListeners } from 'node:events';
import { onAbort } from '../util/abort-callbacks.js';

/**
 * Handles items in their order, several at once. At the first failure no more are begun, those under way are told by their
 * signal, and waited for.
 *
 * @param items gives them; its signal aborts when they are of no use any more.
 * @param atOnceMax items that are handled at the same time.
 * @throws the first error, also one of `items`; the signal's reason when it aborts.
 */
export async function handleAtOnce<T>(
  items: (signal: AbortSignal) => AsyncIterable<T>,
  atOnceMax: number,
  signal: AbortSignal,
  handle: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const stop = new AbortController();
  // Each item may listen, in more than one place.
  setMaxListeners(0, stop.signal);
  const leave = onAbort(signal, () => stop.abort(signal.reason));
  let underWay = 0;
  let wake = (): void => undefined;
  const ended = (): void => {
    underWay -= 1;
    wake();
  };
  const untilFewer = async (max: number): Promise<void> => {
    while (underWay > max) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  try {
    for await (const item of items(stop.signal)) {
      if (stop.signal.aborted) break;
      underWay += 1;
      handle(item, stop.signal).then(ended, (error: unknown) => {
        stop.abort(error);
        ended();
      });
      if (underWay >= atOnceMax) await untilFewer(atOnceMax - 1);
    }
  } catch (error) {
    stop.abort(error);
  } finally {
    await untilFewer(0);
    leave();
  }
  stop.signal.throwIfAborted();
}
