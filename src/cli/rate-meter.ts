/** The rate is that of the last so many milliseconds, in steps of at least so many. */
const WINDOW_MS = 10_000;
const STEP_MS = 250;

/** How fast a count grows: over the last ten seconds, so that a pause shows and a burst does not mislead. */
export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly count: number }[] = [];
  #last = { atMs: 0, count: 0 };

  /** @param nowMs monotonic milliseconds. @param count at that time. */
  add(nowMs: number, count: number): void {
    this.#last = { atMs: nowMs, count };
    const newest = this.#samples.at(-1);
    if (newest !== undefined && nowMs - newest.atMs < STEP_MS) return;
    this.#samples.push(this.#last);
    while ((this.#samples[0]?.atMs ?? nowMs) < nowMs - WINDOW_MS) this.#samples.shift();
  }

  /** 0 until there is something to say. */
  get perSecond(): number {
    const oldest = this.#samples[0];
    if (oldest === undefined || this.#last.atMs - oldest.atMs < STEP_MS) return 0;
    return Math.max(0, ((this.#last.count - oldest.count) * 1000) / (this.#last.atMs - oldest.atMs));
  }
}
