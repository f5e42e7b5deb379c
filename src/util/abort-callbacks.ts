/** The callbacks of each signal; an aborted one has none any more. */
const callbacksOf = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `callback` once when `signal` aborts, at once if it has aborted already. However many do this with one signal,
 * it has one listener: a thousand requests of one connection are neither a leak to Node.js, which warns of more than
 * ten, nor does the end of each look through the listeners of all others.
 *
 * @returns takes the callback away again.
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return doNothing;
  if (signal.aborted) {
    callback();
    return doNothing;
  }
  // A function of its own, so that the same callback may be given twice.
  const entry = (): void => callback();
  const callbacks = callbacksOf.get(signal) ?? listenTo(signal);
  callbacks.add(entry);
  return () => void callbacks.delete(entry);
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const callbacks = new Set<() => void>();
  callbacksOf.set(signal, callbacks);
  const callAll = (): void => {
    for (const callback of callbacks) {
      // Each one once, also those that are added by another.
      callbacks.delete(callback);
      callback();
    }
  };
  signal.addEventListener('abort', callAll, { once: true });
  return callbacks;
}

function doNothing(): void {
  // There is nothing to take away.
}
