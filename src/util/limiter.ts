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

/** A group that has a bound. */
interface BoundGroup {
  readonly places: Limiter;
  /** What is only prefetched, has a place in the group and waits for one among all, as the queue knows it. */
  readonly prefetching: Set<string>;
}

/** Where in the queue. */
interface QueuePlace {
  readonly priority: number;
  readonly id?: string;
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
  readonly #groups = new Map<string, BoundGroup>();
  readonly #running = new Map<string, RunningGroup>();
  #lastId = 0;

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
    for (const { places } of this.#groups.values()) count += places.waitingCount;
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
    const places = this.#groups.get(group)?.places;
    if (places !== undefined && places.inFlightMax !== inFlightMax) places.inFlightMax = inFlightMax;
    if (inFlightMax === Number.POSITIVE_INFINITY) this.#groups.delete(group);
    else if (places === undefined) {
      this.#groups.set(group, { places: new Limiter(inFlightMax), prefetching: new Set() });
    }
  }

  /** As {@link run}, for a task of a group. @throws what run throws. */
  async runIn<T>(
    group: string,
    task: () => Promise<T>,
    lane: Lane = Lane.Demand,
    signal?: AbortSignal,
  ): Promise<T> {
    const known = this.#groups.get(group);
    // Whoever gets a place after the group has got a bound, or another one, waits for a place in that first.
    const start = (): Promise<T | typeof BOUND> => {
      const bound = this.#groups.get(group);
      return bound === undefined || bound === known ? this.#counting(group, task) : Promise.resolve(BOUND);
    };
    const answer =
      known === undefined
        ? await this.run(start, lane, signal)
        : await this.#runBound(known, start, lane, signal);
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
    return this.#runAt({ priority: LANE_PRIORITY[lane] }, task, signal);
  }

  #runAt<T>(place: QueuePlace, task: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return signal === undefined ? this.#queue.add(task, place) : this.#runWithSignal(place, task, signal);
  }

  // The queue would give the place of a running task away as soon as its signal aborts, so that more would run than
  // the bound allows: it gets a signal that is of no effect once the task has begun.
  async #runWithSignal<T>(place: QueuePlace, task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const waiting = new AbortController();
    const leave = onAbort(signal, () => waiting.abort(signal.reason));
    const begin = (): Promise<T> => {
      leave();
      return task();
    };
    try {
      return await this.#queue.add(begin, { ...place, signal: waiting.signal });
    } finally {
      leave();
    }
  }

  async #runBound<T>(
    { places, prefetching }: BoundGroup,
    task: () => Promise<T>,
    lane: Lane,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    if (lane === Lane.Demand) {
      // Where it has to wait for what is only prefetched, that is waited for: it must not stay behind the demand of others.
      if (places.inFlightCount >= places.inFlightMax) this.#raise(prefetching);
      return places.run(() => this.run(task, lane, signal), lane, signal);
    }
    this.#lastId += 1;
    const id = `prefetch ${this.#lastId}`;
    const wait = async (): Promise<T> => {
      prefetching.add(id);
      const leave = onAbort(signal, () => prefetching.delete(id));
      const begin = (): Promise<T> => {
        leave();
        prefetching.delete(id);
        return task();
      };
      return this.#runAt({ priority: LANE_PRIORITY[lane], id }, begin, signal);
    };
    return places.run(wait, lane, signal);
  }

  #raise(waiting: Set<string>): void {
    for (const id of waiting) this.#queue.setPriority(id, LANE_PRIORITY[Lane.Demand]);
    waiting.clear();
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
    for (const { places } of this.#groups.values()) await places.idle();
    await this.#queue.onIdle();
  }
}
