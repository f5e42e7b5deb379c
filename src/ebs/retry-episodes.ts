import type { Clock, Timer } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import type { EbsError } from './errors.js';

/** Without a failed try for so long, the episode is over. */
const EPISODE_QUIET_MS = 5000;

/**
 * Says in the log when calls begin to wait for another try, and when that has ended: one pair of lines however many
 * calls it concerns, with throttling and failing apart.
 */
export class RetryEpisodes {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #title: string;
  #startedMs: number | undefined;
  #retryCount = 0;
  #waitingCount = 0;
  #lastFailureMs = 0;
  #quietTimer: Timer | undefined;

  /** @param title what the episode is, for its two lines: "the service fails". */
  constructor(title: string, logger: Logger, clock: Clock) {
    this.#title = title;
    this.#logger = logger;
    this.#clock = clock;
  }

  /** A call waits for another try after `error`. Each call of this is followed by one of {@link waited}. */
  waits(error: EbsError): void {
    this.#lastFailureMs = this.#clock.nowMs();
    this.#retryCount += 1;
    this.#waitingCount += 1;
    if (this.#startedMs !== undefined) return;
    this.#startedMs = this.#lastFailureMs;
    this.#logger.warn(`${this.#title}: retrying`, {
      kind: error.kind,
      operation: error.operation,
      error: error.message,
    });
  }

  /** A call has waited, and tries again or gives up. */
  waited(): void {
    this.#waitingCount -= 1;
    if (this.#waitingCount === 0)
      this.#quietTimer ??= this.#clock.setTimer(EPISODE_QUIET_MS, () => this.#onQuiet());
  }

  /** Ends the episode, if there is one, and lets go of the timer. */
  close(): void {
    this.#quietTimer?.cancel();
    this.#quietTimer = undefined;
    if (this.#startedMs === undefined) return;
    const durationMs = Math.round(this.#lastFailureMs - this.#startedMs);
    this.#logger.info(`${this.#title}: over`, { retries: this.#retryCount, durationMs });
    this.#startedMs = undefined;
    this.#retryCount = 0;
  }

  #onQuiet(): void {
    this.#quietTimer = undefined;
    if (this.#waitingCount > 0) return;
    const quietMs = this.#clock.nowMs() - this.#lastFailureMs;
    if (quietMs >= EPISODE_QUIET_MS) this.close();
    // A whole number, so that a fraction that is lost in the clock's own arithmetic cannot keep it from passing.
    else
      this.#quietTimer = this.#clock.setTimer(Math.ceil(EPISODE_QUIET_MS - quietMs), () => this.#onQuiet());
  }
}
