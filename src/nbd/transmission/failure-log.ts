import type { Clock } from '../../util/clock.js';
import { messageOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import type { RequestHeader } from '../codec/request-header.js';
import { commandName, WireError } from '../transmission-constants.js';

/** The same failure is written again after this time at the earliest, in milliseconds. */
const REPEAT_MS = 1000;

/** Writes why requests of one connection failed: a line each, and a line a second where one failure is like the other. */
export class FailureLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #lastReason: string | undefined;
  #lastMs = 0;
  #unwrittenCount = 0;

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** @param answer the error that the client gets, which says less. */
  write(request: RequestHeader, thrown: unknown, answer: WireError): void {
    const reason = messageOf(thrown);
    const nowMs = this.#clock.nowMs();
    if (reason === this.#lastReason && nowMs - this.#lastMs < REPEAT_MS) {
      this.#unwrittenCount += 1;
      return;
    }
    const fields = {
      command: commandName(request.type),
      offset: request.offset,
      lengthBytes: request.lengthBytes,
      answer,
      error: reason,
      ...(this.#unwrittenCount > 0 ? { failuresBefore: this.#unwrittenCount } : {}),
    };
    this.#lastReason = reason;
    this.#lastMs = nowMs;
    this.#unwrittenCount = 0;
    // That zeroing would not be fast is an answer, not a failure.
    if (answer === WireError.ENOTSUP) this.#logger.debug('a request was declined', fields);
    else this.#logger.warn('a request failed', fields);
  }
}
