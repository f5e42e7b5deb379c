import PQueue from 'p-queue';
import { onAbort } from './abort-callbacks.js';

/** The two lanes of a {@link Limiter}: what somebody waits for, and what somebody may ask for later. */
export const Lane = { Demand: 'demand', Prefetch: 'prefetch' } as const;
export type Lane = (typeof Lane)[keyof typeof Lane];

const LANE_PRIORITY: Readonly<Record<Lane, number>> = { [Lane.Demand]: 1, [Lane.Prefetch]: 0 };

/**
 * Runs tasks with at most `inFlightMax` at once. Waiting demand always starts before waiting prefetch; within
 * a lane the order is first in, first out.
 */
export class Limiter {
  readonly #queue: PQueue;

  /** @param inFlightMax tasks that run at the same time, at least 1. */
  constructor(inFlightMax: number) {
    this.#queue = new PQueue({ concurrency: inFlightMax });
  }

  /** Tasks that run now. */
  get inFlightCount(): number {
    return this.#queue.pending;
  }

  /** Tasks that wait for a place. */
  get waitingCount(): number {
    return this.#queue.size;
  }

  /** The bound, which may be changed while tasks run: lowering it lets the surplus finish. */
  get inFlightMax(): number {
    return this.#queue.concurrency;
  }

  set inFlightMax(value: number) {
    this.#queue.concurrency = value;
  }

  /**
   * Runs `task` when there is a place for it.
   *
   * @param lane default: demand.
   * @param signal takes the task out of the queue while it waits; a task that runs must watch it itself, and keeps
   *   its place until it has ended.
   * @throws the signal's reason, or what the task throws.
   */
  run<T>(task: () => Promise<T>, lane: Lane = Lane.Demand, signal?: AbortSignal): Promise<T> {
    const priority = LANE_PRIORITY[lane];
    return signal === undefined
      ? this.#queue.add(task, { priority })
      : this.#runWithSignal(task, priority, signal);
  }

  // The queue would give the place of a running task away as soon as its signal aborts, so that more would run than
  // the bound allows: it gets a signal that is of no effect once the task has begun.
  async #runWithSignal<T>(task: () => Promise<T>, priority: number, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const waiting = new AbortController();
    const leave = onAbort(signal, () => waiting.abort(signal.reason));
    const begin = (): Promise<T> => {
      leave();
      return task();
    };
    try {
      return await this.#queue.add(begin, { priority, signal: waiting.signal });
    } finally {
      leave();
    }
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    await this.#queue.onIdle();
  }
}
