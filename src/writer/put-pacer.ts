import type { Clock } from '../util/clock.js';

/** Spreads puts evenly, so that no more than a given number is begun in a second. */
export class PutPacer {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #nextMs = Number.NEGATIVE_INFINITY;

  /** @param putsPerSecond above 0; Infinity: no bound. */
  constructor(clock: Clock, putsPerSecond: number) {
    this.#clock = clock;
    this.#intervalMs = 1000 / putsPerSecond;
  }

  /** Resolves when the next put may begin. */
  async turn(signal: AbortSignal): Promise<void> {
    if (this.#intervalMs === 0) return;
    const nowMs = this.#clock.nowMs();
    const atMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = atMs + this.#intervalMs;
    if (atMs > nowMs) await this.#clock.sleep(atMs - nowMs, signal);
  }
}
