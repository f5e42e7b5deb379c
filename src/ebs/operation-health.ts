import type { EbsError } from './errors.js';

/** Whether an operation works at present, as far as its calls have shown. */
export class OperationHealth {
  #aliveMs = Number.NEGATIVE_INFINITY;
  #failure: EbsError | undefined;

  /** The last failure since the service last answered in a way that shows that it works. */
  get failure(): EbsError | undefined {
    return this.#failure;
  }

  /** The service answered: with what was asked for, or with a refusal, which takes a working service too. */
  works(nowMs: number): void {
    this.#aliveMs = nowMs;
    this.#failure = undefined;
  }

  fails(error: EbsError): void {
    this.#failure = error;
  }

  /**
   * Until when a call that begins now is tried. While the service fails for everybody, one that waited behind others
   * has used its time up like them: a thousand of them come to their end together, not batch after batch.
   */
  deadlineMs(startMs: number, askedMs: number, totalMs: number): number {
    return (this.#failure === undefined ? startMs : Math.max(askedMs, this.#aliveMs)) + totalMs;
  }
}
