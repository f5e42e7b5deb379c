/** Lets many through at once, or one alone; those who come while somebody wants to be alone wait. */
export class Gate {
  #insideCount = 0;
  #shut: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  /** Enters: at once, or after the promise. Call {@link leave} when done. */
  enter(): void | Promise<void> {
    if (this.#shut === undefined) this.#insideCount += 1;
    else return this.#enterLater();
  }

  /** True when {@link enter} would let one in at once. */
  get isOpen(): boolean {
    return this.#shut === undefined;
  }

  leave(): void {
    this.#insideCount -= 1;
    if (this.#insideCount === 0) this.#onEmpty?.();
  }

  /** Runs `task` when all who were inside have left, and before anybody else enters. */
  async alone<T>(task: () => Promise<T>): Promise<T> {
    while (this.#shut !== undefined) await this.#shut;
    let open = (): void => undefined;
    this.#shut = new Promise((resolve) => {
      open = resolve;
    });
    try {
      if (this.#insideCount > 0) {
        await new Promise<void>((resolve) => {
          this.#onEmpty = resolve;
        });
      }
      return await task();
    } finally {
      this.#onEmpty = undefined;
      this.#shut = undefined;
      open();
    }
  }

  /** While somebody is alone, or about to be: resolves at the end of that. */
  get shut(): Promise<void> | undefined {
    return this.#shut;
  }

  async #enterLater(): Promise<void> {
    while (this.#shut !== undefined) await this.#shut;
    this.#insideCount += 1;
  }
}
