/** Whoever has not asked for a share again after this time does not need it any more. */
const SHARE_MS = 10_000;

/**
 * Divides what may be fetched ahead among the streams that read, of all snapshots of the process: as much as the cache
 * can bear without pushing out what has not been read yet.
 */
export class PrefetchShares {
  readonly #blocksMax: number;
  /** When each holder last asked, the least recent first. */
  readonly #holders = new Map<object, number>();

  /** @param blocksMax for all holders together. */
  constructor(blocksMax: number) {
    this.#blocksMax = blocksMax;
  }

  /** Blocks that this holder may have ahead: an equal part, and none when there are more holders than blocks. */
  shareOf(holder: object, nowMs: number): number {
    this.#holders.delete(holder);
    this.#holders.set(holder, nowMs);
    for (const [other, askedMs] of this.#holders) {
      if (nowMs - askedMs < SHARE_MS) break;
      this.#holders.delete(other);
    }
    return Math.floor(this.#blocksMax / this.#holders.size);
  }

  /** The holder is done. */
  release(holder: object): void {
    this.#holders.delete(holder);
  }
}
