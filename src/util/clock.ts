import { setTimeout as sleepMs } from 'node:timers/promises';

/** A timer that has been set. */
export interface Timer {
  cancel(): void;
}

/** Time as the layers see it; injected, so that tests run without waiting. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start: for durations. */
  nowMs(): number;
  /** Milliseconds since 1970-01-01T00:00:00Z: for comparing with times that a service gave. */
  dateMs(): number;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `delayMs`. The timer does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** The real time. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  dateMs: () => Date.now(),
  sleep: async (delayMs, signal) => {
    try {
      await sleepMs(delayMs, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  },
  setTimer: (delayMs, callback) => {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
