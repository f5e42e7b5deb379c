/** Long enough for many files to come, and too short to be felt by who waits for one. */
const GATHER_MS = 10;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Collects what is asked for one by one, and does it together, where each time costs much more than each item. A batch
 * begins 10 ms after its first item, or when it is full, and never before the one ahead of it has ended. Where a batch
 * fails, each of its items is tried alone, so that one does not spoil the others.
 */
export class Batches<Item, Result> {
  readonly #work: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #itemsMax: number;
  readonly #waiting: Waiting<Item, Result>[] = [];
  #isRunning = false;
  #isFull = (): void => undefined;

  /**
   * @param work gives a result for each of its items, in their order, or rejects. It may be repeated.
   * @param itemsMax in one batch.
   */
  constructor(work: (items: readonly Item[]) => Promise<readonly Result[]>, itemsMax: number) {
    this.#work = work;
    this.#itemsMax = itemsMax;
  }

  /** @returns what came of it. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#waiting.length >= this.#itemsMax) this.#isFull();
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      if (this.#waiting.length < this.#itemsMax) await this.#gathered();
      await this.#do(this.#waiting.splice(0, this.#itemsMax));
    }
    this.#isRunning = false;
  }

  #gathered(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.#isFull = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #do(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#work(batch.map(({ item }) => item));
      batch.forEach(({ resolve }, index) => resolve(results[index] as Result));
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error);
      else for (const each of batch) await this.#do([each]);
    }
  }
}
