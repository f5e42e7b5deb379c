/** Successes are counted in slices of this length, and so many of them make up an estimate. */
const SLICE_MS = 100;
const SLICE_COUNT = 20;
const SPAN_MIN_MS = 200;
/** One wave of refused calls that were under way together is one sign. */
const CUT_INTERVAL_MS = 300;
/** What timers lose is caught up with, for so long. The service allows for more at once than this. */
const CATCH_UP_MS = 30;
const RATE_MIN = 2;
/** Beyond any quota of the service (5000/s), where pacing is of no use. */
const RATE_MAX = 20_000;

/** The first refusal comes out of unbounded growth, and counts what the service had saved up: that much is too much. */
const FIRST_CUT = 0.75;
/** The second one comes out of fast growth. */
const SECOND_CUT = 0.92;
/** From then on the successes are the quota, as nearly as they can be counted. */
const CUT = 0.985;
/** One refusal out of a quiet time says little about the quota: no less than this part of what was once reached. */
const LEAST_PART = 0.3;
const BEST_DECAY = 0.9;
const FAST_GROWTH_PER_SECOND = 1.2;
const QUIET_SECONDS = 3;
const SLOW_GROWTH_PER_SECOND = 0.006;
const SLOW_SECONDS = 30;
const WIDE_GROWTH_PER_SECOND = 1.25;

const Knowledge = { None: 'none', Rough: 'rough', Good: 'good' } as const;
type Knowledge = (typeof Knowledge)[keyof typeof Knowledge];

/**
 * The rate of calls that a quota leaves, found by what it refuses: pure, with times coming in. While calls are refused,
 * those that succeed are what the quota allows; a little less than that is then held, and slowly raised until it is
 * refused again. So a call is refused every quarter of a minute or so, where a number of calls in flight alone would have
 * to be wrong by up to one: 200/s at 30 ms is six calls, and seven are a sixth too many.
 */
export class Pacer {
  readonly #ceiling: number;
  readonly #slices = new Array<number>(SLICE_COUNT).fill(0);
  #slice = 0;
  #startMs: number | undefined;
  #knowledge: Knowledge = Knowledge.None;
  #base = Number.POSITIVE_INFINITY;
  #cutMs = 0;
  #bestRate = 0;
  #nextMs = Number.NEGATIVE_INFINITY;

  /** @param ceiling calls a second that are never exceeded. Default: none. */
  constructor(ceiling = Number.POSITIVE_INFINITY) {
    this.#ceiling = ceiling;
  }

  /** Calls a second that may begin now; Infinity before anything was refused. */
  rate(nowMs: number): number {
    const elapsed = (nowMs - this.#cutMs) / 1000;
    let growth = 1;
    if (this.#knowledge === Knowledge.Rough) growth = FAST_GROWTH_PER_SECOND ** elapsed;
    else if (elapsed > QUIET_SECONDS) {
      growth += SLOW_GROWTH_PER_SECOND * (Math.min(elapsed, SLOW_SECONDS) - QUIET_SECONDS);
      growth *= WIDE_GROWTH_PER_SECOND ** Math.max(0, elapsed - SLOW_SECONDS);
    }
    const rate = this.#base * growth;
    return Math.min(this.#ceiling, rate > RATE_MAX ? Number.POSITIVE_INFINITY : rate);
  }

  /** Reserves the next turn. @returns in how many milliseconds it is; 0: now. */
  delayMs(nowMs: number): number {
    const rate = this.rate(nowMs);
    if (rate === Number.POSITIVE_INFINITY) return 0;
    const atMs = Math.max(this.#nextMs, nowMs - CATCH_UP_MS);
    this.#nextMs = atMs + 1000 / rate;
    return Math.max(0, atMs - nowMs);
  }

  /** A call was answered with what it asked for. */
  succeeded(nowMs: number): void {
    this.#startMs ??= nowMs;
    this.#turnTo(nowMs);
    this.#slices[this.#slice % SLICE_COUNT] = (this.#slices[this.#slice % SLICE_COUNT] ?? 0) + 1;
  }

  /** A call was refused for the rate of calls. */
  throttled(nowMs: number): void {
    this.#turnTo(nowMs);
    if (this.#knowledge !== Knowledge.None && nowMs - this.#cutMs < CUT_INTERVAL_MS) return;
    const reached = Math.min(this.#successRate(nowMs), this.rate(nowMs));
    this.#bestRate = Math.max(this.#bestRate * BEST_DECAY, reached);
    const least = Math.max(RATE_MIN, LEAST_PART * this.#bestRate);
    if (this.#knowledge === Knowledge.None) {
      this.#base = Math.max(least, reached * FIRST_CUT);
      this.#knowledge = Knowledge.Rough;
    } else {
      this.#base = Math.max(least, reached * (this.#knowledge === Knowledge.Rough ? SECOND_CUT : CUT));
      this.#knowledge = Knowledge.Good;
    }
    this.#cutMs = nowMs;
  }

  #successRate(nowMs: number): number {
    const sinceMs = Math.max((this.#slice - SLICE_COUNT + 1) * SLICE_MS, this.#startMs ?? nowMs);
    const count = this.#slices.reduce((sum, slice) => sum + slice, 0);
    return (count * 1000) / Math.max(SPAN_MIN_MS, nowMs - sinceMs);
  }

  #turnTo(nowMs: number): void {
    const slice = Math.floor(nowMs / SLICE_MS);
    for (let next = Math.max(this.#slice + 1, slice - SLICE_COUNT + 1); next <= slice; next += 1) {
      this.#slices[((next % SLICE_COUNT) + SLICE_COUNT) % SLICE_COUNT] = 0;
    }
    this.#slice = Math.max(this.#slice, slice);
  }
}
