import type { Clock, Timer } from '../util/clock.js';

/** A time limit that can be suspended while the time is not the peer's. */
export class HandshakeTimer {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #leftMs: number;
  #timer: Timer | undefined;
  #startedMs = 0;

  constructor(clock: Clock, limitMs: number, onExpired: () => void) {
    this.#clock = clock;
    this.#leftMs = limitMs;
    this.#onExpired = onExpired;
  }

  /** Lets the time run, from where it was. */
  resume(): void {
    if (this.#timer !== undefined) return;
    this.#startedMs = this.#clock.nowMs();
    this.#timer = this.#clock.setTimer(this.#leftMs, this.#onExpired);
  }

  /** Stops the time. */
  pause(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#leftMs = Math.max(0, this.#leftMs - (this.#clock.nowMs() - this.#startedMs));
  }
}
