import type { EbsError, EbsErrorKind } from '../ebs/errors.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';

/** Failures of one kind are told at most so often. */
const REPEAT_MS = 30_000;

/** One log line for many failures: the first of each kind at once, then how many there were since. */
export class FailureLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #told = new Map<EbsErrorKind, { atMs: number; unsaidCount: number }>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Tells of a failure, or counts it. */
  tell(message: string, error: EbsError): void {
    const nowMs = this.#clock.nowMs();
    const told = this.#told.get(error.kind);
    if (told !== undefined && nowMs - told.atMs < REPEAT_MS) {
      told.unsaidCount += 1;
      return;
    }
    this.#told.set(error.kind, { atMs: nowMs, unsaidCount: 0 });
    this.#logger.error(message, {
      kind: error.kind,
      error: error.message,
      requestId: error.requestId,
      alsoFailedBefore: told?.unsaidCount,
    });
  }
}
