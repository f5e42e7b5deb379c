/** With what a server begins that knows nothing yet: 260 calls a second at 30 ms. */
const WINDOW_START = 8;
const GROWTH = 2;
/** More calls in flight have to bring so much more, or they only take memory. */
const GAIN_MIN = 1.05;
/** After a rise that brought nothing it is left alone for so long, twice as long each time that it brings nothing again. */
const HOLD_MIN_MS = 250;
const HOLD_MAX_MS = 8000;
const EPOCH_MIN_MS = 100;
const LATENCY_WEIGHT = 0.1;
/** Calls in flight for a rate that is known: the product of rate and latency, and room for both to vary. */
const PACED_ROOM = 1.3;
const PACED_SPARE = 2;

/**
 * How many calls are to be under way: pure, with times coming in. The number rises as long as the rate of answers rises
 * with it, and is tried again from time to time; where the rate is paced it is what that rate takes.
 */
export class InFlightWindow {
  readonly #max: number;
  #window: number;
  #latencyMs: number | undefined;
  #epochStartMs: number | undefined;
  #epochCount = 0;
  /** What the window was raised from, until it has shown what it brings. */
  #before: { readonly window: number; readonly rate: number } | undefined;
  #holdMs = HOLD_MIN_MS;
  #holdUntilMs = Number.NEGATIVE_INFINITY;

  /** @param max the bound, at least 1. */
  constructor(max: number) {
    this.#max = max;
    this.#window = Math.min(max, WINDOW_START);
  }

  /**
   * The number for now, from 1 to the bound.
   *
   * @param rate that calls are paced to, a second; Infinity: not paced.
   */
  size(rate: number): number {
    if (rate === Number.POSITIVE_INFINITY || this.#latencyMs === undefined) return this.#window;
    const paced = Math.ceil((rate * this.#latencyMs * PACED_ROOM) / 1000) + PACED_SPARE;
    return Math.min(this.#max, paced);
  }

  /**
   * A call was answered after `latencyMs`.
   *
   * @param isFull as many were under way as were allowed, and others waited: only then it shows what the number brings.
   */
  answered(nowMs: number, latencyMs: number, isFull: boolean): void {
    this.#latencyMs =
      this.#latencyMs === undefined
        ? latencyMs
        : this.#latencyMs + LATENCY_WEIGHT * (latencyMs - this.#latencyMs);
    if (!isFull) {
      this.#epochStartMs = undefined;
      return;
    }
    if (this.#epochStartMs === undefined) {
      this.#epochStartMs = nowMs;
      this.#epochCount = 0;
      return;
    }
    this.#epochCount += 1;
    const elapsedMs = nowMs - this.#epochStartMs;
    if (this.#epochCount < 2 * this.#window || elapsedMs < EPOCH_MIN_MS) return;
    this.#epochStartMs = nowMs;
    this.#judge(nowMs, (this.#epochCount * 1000) / elapsedMs);
    this.#epochCount = 0;
  }

  #judge(nowMs: number, rate: number): void {
    if (this.#before !== undefined && rate < this.#before.rate * GAIN_MIN) {
      this.#window = this.#before.window;
      this.#before = undefined;
      this.#holdUntilMs = nowMs + this.#holdMs;
      this.#holdMs = Math.min(HOLD_MAX_MS, this.#holdMs * 2);
      return;
    }
    if (this.#before !== undefined) this.#holdMs = HOLD_MIN_MS;
    this.#before = undefined;
    if (nowMs < this.#holdUntilMs || this.#window >= this.#max) return;
    this.#before = { window: this.#window, rate };
    this.#window = Math.min(this.#max, Math.ceil(this.#window * GROWTH));
  }
}
