/** How often, how long and how patiently calls are tried again. */
export interface RetryPolicy {
  /** Tries of one call that fail in other ways than by throttling. Default: 20. */
  readonly triesMax: number;
  /**
   * For how long one call is retried while it fails, in milliseconds; a try that is under way then is cut. Time that
   * the call waited in queues counts while the service fails for everybody. Default: 20,000, since a kernel client
   * that was given a time-out usually has 30 s.
   */
  readonly retryTotalMs: number;
  /** The longest wait after the first failure; it doubles with each further one. Default: 50. */
  readonly backoffBaseMs: number;
  /** Where the longest wait stops doubling. Default: 2000. */
  readonly backoffMaxMs: number;
  /** The same three for throttling, where the service works and waiting is all it asks for. Default: 300,000. */
  readonly throttleTotalMs: number;
  /** Default: 100. */
  readonly throttleBaseMs: number;
  /** Default: 5000. */
  readonly throttleMaxMs: number;
  /**
   * For how long after StartSnapshot a put that is answered with "not found" is retried. Default: 120,000, the
   * longest that the service was seen to need.
   */
  readonly newSnapshotGraceMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  triesMax: 20,
  retryTotalMs: 20_000,
  backoffBaseMs: 50,
  backoffMaxMs: 2000,
  throttleTotalMs: 300_000,
  throttleBaseMs: 100,
  throttleMaxMs: 5000,
  newSnapshotGraceMs: 120_000,
};

/**
 * What is left of the bounds of one call. Pure: times and random numbers come in, waits come out.
 */
export class RetryBudget {
  readonly #policy: RetryPolicy;
  readonly #startMs: number;
  readonly #totalMs: number;
  #deadlineMs: number;
  #failureCount = 0;
  #patienceCount = 0;
  #throttledSinceMs: number | undefined;

  /**
   * @param startMs when the call began.
   * @param totalMs its bound on failing.
   * @param deadlineMs where that bound lies, which is before `startMs + totalMs` when part of it is used up.
   */
  constructor(policy: RetryPolicy, startMs: number, totalMs: number, deadlineMs: number) {
    this.#policy = policy;
    this.#startMs = startMs;
    this.#totalMs = totalMs;
    this.#deadlineMs = deadlineMs;
  }

  /** How long a try that begins now may take. */
  remainingMs(nowMs: number): number {
    return this.#deadlineMs - nowMs;
  }

  /** Tries that have been made, all of which failed. */
  get triesCount(): number {
    return this.#failureCount + this.#patienceCount;
  }

  elapsedMs(nowMs: number): number {
    return nowMs - this.#startMs;
  }

  /**
   * A try failed.
   *
   * @param random from 0 to 1.
   * @returns how long to wait before the next one, or undefined to give up.
   */
  afterFailure(nowMs: number, random: number): number | undefined {
    this.#failureCount += 1;
    if (this.#failureCount >= this.#policy.triesMax) return undefined;
    const { backoffBaseMs, backoffMaxMs } = this.#policy;
    const delayMs = random * backoffMs(backoffBaseMs, backoffMaxMs, this.#failureCount);
    return nowMs + delayMs < this.#deadlineMs ? delayMs : undefined;
  }

  /** A try was throttled, which says that the service works: the bound on failing begins again. */
  afterThrottling(nowMs: number, random: number): number | undefined {
    this.#throttledSinceMs ??= nowMs;
    return this.#afterPatience(nowMs, random, this.#throttledSinceMs + this.#policy.throttleTotalMs);
  }

  /** A try found something that will be there before `untilMs`. */
  afterTooEarly(nowMs: number, random: number, untilMs: number): number | undefined {
    return this.#afterPatience(nowMs, random, untilMs);
  }

  #afterPatience(nowMs: number, random: number, untilMs: number): number | undefined {
    this.#patienceCount += 1;
    const { throttleBaseMs, throttleMaxMs } = this.#policy;
    const delayMs = random * backoffMs(throttleBaseMs, throttleMaxMs, this.#patienceCount);
    this.#deadlineMs = nowMs + delayMs + this.#totalMs;
    return nowMs + delayMs < untilMs ? delayMs : undefined;
  }
}

function backoffMs(baseMs: number, maxMs: number, count: number): number {
  return Math.min(maxMs, baseMs * 2 ** (count - 1));
}
