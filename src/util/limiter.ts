import PQueue from 'p-queue';
import { onAbort } from './abort-callbacks.js';

/** The two lanes of a {@link Limiter}: what somebody waits for, and what somebody may ask for later. */
export const Lane = { Demand: 'demand', Prefetch: 'prefetch' } as const;
export type Lane = (typeof Lane)[keyof typeof Lane];

const LANE_PRIORITY: Readonly<Record<Lane, number>> = { [Lane.Demand]: 1, [Lane.Prefetch]: 0 };

/** Tasks of one group that run. */
interface RunningGroup {
  count: number;
  /** How many of them have lent their places. */
  lentCount: number;
}

/** Instead of what a task gives: it has not begun. */
const BOUND = Symbol('the group has a bound');

/**
 * Runs tasks with at most `inFlightMax` at once. Waiting demand always starts before waiting prefetch; within
 * a lane the order is first in, first out.
 */
export class Limiter {
  readonly #queue: PQueue;
  #inFlightMax: number;
  #lentCount = 0;
  /** Groups that have a bound. */
  readonly #groups = new Map<string, Limiter>();
  readonly #running = new Map<string, RunningGroup>();

  /** @param inFlightMax tasks that run at the same time, at least 1. */
  constructor(inFlightMax: number) {
    this.#inFlightMax = inFlightMax;
    this.#queue = new PQueue({ concurrency: inFlightMax });
  }

  /** Tasks that run now, without those that have lent their places. */
  get inFlightCount(): number {
    return Math.max(0, this.#queue.pending - this.#lentCount);
  }

  /** Tasks that wait for a place. */
  get waitingCount(): number {
    let count = this.#queue.size;
    for (const group of this.#groups.values()) count += group.waitingCount;
    return count;
  }

  /** The bound, which may be changed while tasks run: lowering it lets the surplus finish. */
  get inFlightMax(): number {
    return this.#inFlightMax;
  }

  set inFlightMax(value: number) {
    this.#inFlightMax = value;
    this.#queue.concurrency = value + this.#lentCount;
  }

  /**
   * Lets another task run in the place of one of a group that only waits for a time to come. Of no effect for a group
   * without a bound: its next task, which would wait as well, could come into that place.
   *
   * @returns how to take the place back: then one more than the bound may run until one of them ends. To be called once.
   */
  lend(group: string): () => void {
    const running = this.#running.get(group);
    if (running === undefined || running.lentCount >= running.count || !this.#groups.has(group)) {
      return () => undefined;
    }
    this.#changeLent(running, 1);
    return () => this.#changeLent(running, -1);
  }

  /**
   * Gives the tasks of one group a bound of their own below that of all, so that they leave places to others.
   *
   * @param inFlightMax at least 1; Infinity takes the bound away.
   */
  boundGroup(group: string, inFlightMax: number): void {
    const known = this.#groups.get(group);
    if (known !== undefined && known.inFlightMax !== inFlightMax) known.inFlightMax = inFlightMax;
    if (inFlightMax === Number.POSITIVE_INFINITY) this.#groups.delete(group);
    else if (known === undefined) this.#groups.set(group, new Limiter(inFlightMax));
  }

  /** As {@link run}, for a task of a group. @throws what run throws. */
  async runIn<T>(
    group: string,
    task: () => Promise<T>,
    lane: Lane = Lane.Demand,
    signal?: AbortSignal,
  ): Promise<T> {
    const known = this.#groups.get(group);
    const counted = (): Promise<T> => this.#counting(group, task);
    if (known !== undefined) return known.run(() => this.run(counted, lane, signal), lane, signal);
    // Whoever gets a place after the group has got a bound waits for one of its own first.
    const start = (): Promise<T | typeof BOUND> =>
      this.#groups.has(group) ? Promise.resolve(BOUND) : counted();
    const answer = await this.run(start, lane, signal);
    return answer === BOUND ? this.runIn(group, task, lane, signal) : answer;
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

  async #counting<T>(group: string, task: () => Promise<T>): Promise<T> {
    const running = this.#running.get(group) ?? { count: 0, lentCount: 0 };
    this.#running.set(group, running);
    running.count += 1;
    try {
      return await task();
    } finally {
      running.count -= 1;
      if (running.count === 0) this.#running.delete(group);
    }
  }

  #changeLent(running: RunningGroup, change: number): void {
    running.lentCount += change;
    this.#lentCount += change;
    // Not at once: the task that begins may lend its place as well, and so on.
    queueMicrotask(() => (this.#queue.concurrency = this.#inFlightMax + this.#lentCount));
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    await this.#queue.onIdle();
  }
}
