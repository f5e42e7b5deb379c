/**
 * Has those who ask at the same time share the work: whoever asks while a round is under way is part of the next one, which
 * begins after it.
 */
export class FlushRounds {
  readonly #run: () => Promise<void>;
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param run one round: covers what has happened before it is called. */
  constructor(run: () => Promise<void>) {
    this.#run = run;
  }

  /** Resolves at the end of a round that begins after this call. @throws what the round throws. */
  join(): Promise<void> {
    this.#next ??= this.#runAfter(this.#current);
    return this.#next;
  }

  async #runAfter(before: Promise<void> | undefined): Promise<void> {
    await before?.catch(() => undefined);
    // From here on changes belong to the round after this one.
    const round = this.#next;
    this.#current = round;
    this.#next = undefined;
    try {
      await this.#run();
    } finally {
      if (this.#current === round) this.#current = undefined;
    }
  }
}
