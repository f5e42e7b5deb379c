interface Entry<V> {
  readonly value: V;
  readonly weightBytes: number;
}

/**
 * Values that can be loaded again, bounded by the bytes they take: the least recently used go first. Loads of
 * one key that run at the same time are one load.
 */
export class WeightedCache<V> {
  readonly #entries = new Map<string, Entry<V>>();
  readonly #loading = new Map<string, Promise<V>>();
  readonly #maxBytes: number;
  readonly #weigh: (value: V) => number;
  #bytes = 0;

  /**
   * @param maxBytes what the values may take together. A value heavier than that is handed out but not kept.
   * @param weigh the bytes that a value takes.
   */
  constructor(maxBytes: number, weigh: (value: V) => number) {
    this.#maxBytes = maxBytes;
    this.#weigh = weigh;
  }

  /** What the values take now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The value of `key` when it is here, and marks it as used. */
  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** The value of `key`, loaded when it is not here. A load that fails is not remembered. */
  async load(key: string, loader: () => Promise<V>): Promise<V> {
    const present = this.get(key);
    if (present !== undefined) return present;
    const underway = this.#loading.get(key);
    if (underway !== undefined) return underway;
    const loading = loader().then((value) => {
      this.#keep(key, value);
      return value;
    });
    this.#loading.set(key, loading);
    try {
      return await loading;
    } finally {
      this.#loading.delete(key);
    }
  }

  #keep(key: string, value: V): void {
    const weightBytes = this.#weigh(value);
    if (weightBytes > this.#maxBytes) return;
    this.#entries.set(key, { value, weightBytes });
    this.#bytes += weightBytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= entry.weightBytes;
    }
  }
}
