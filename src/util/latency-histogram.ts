/** Upper bounds of the buckets in milliseconds, both ends included; a last one takes whatever is longer. */
export const LATENCY_BOUNDS_MS = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
] as const;

/** How long things took: a few comparisons and two additions for each, and nothing allocated. */
export class LatencyHistogram {
  /** How many fell into each bucket; one more than there are bounds. */
  readonly counts: number[] = new Array<number>(LATENCY_BOUNDS_MS.length + 1).fill(0);
  /** Of all of them, in milliseconds. */
  sumMs = 0;

  add(durationMs: number): void {
    let bucket = 0;
    while (durationMs > (LATENCY_BOUNDS_MS[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sumMs += durationMs;
  }

  /** Counts something that took no time worth measuring. */
  addInstant(): void {
    this.counts[0] = (this.counts[0] ?? 0) + 1;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
