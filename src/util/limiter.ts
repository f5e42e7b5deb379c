import PQueue from 'p-queue';

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
   * @param signal takes the task out of the queue while it waits; a task that runs must watch it itself.
   * @throws the signal's reason, or what the task throws.
   */
  run<T>(task: () => Promise<T>, lane: Lane = Lane.Demand, signal?: AbortSignal): Promise<T> {
    return this.#queue.add(task, {
      priority: LANE_PRIORITY[lane],
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    await this.#queue.onIdle();
  }
}
