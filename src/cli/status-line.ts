/** As often as the line is drawn anew: quick enough to look alive, slow enough to cost nothing. */
const REDRAW_INTERVAL_MS = 100;

/** The part of a terminal stream that a status line needs. */
export interface StatusTarget {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** One line at the bottom of a terminal that is drawn over and over; nothing at all where there is no terminal. */
export class StatusLine {
  readonly #target: StatusTarget;
  readonly #nowMs: () => number;
  #shown = '';
  #shownAtMs = Number.NEGATIVE_INFINITY;

  /** @param nowMs monotonic milliseconds. Default: the real time. */
  constructor(target: StatusTarget, nowMs: () => number = () => performance.now()) {
    this.#target = target;
    this.#nowMs = nowMs;
  }

  /** Shows `text` instead of what was there, unless that is newer than a tenth of a second. */
  show(text: string): void {
    if (this.#target.isTTY !== true) return;
    const nowMs = this.#nowMs();
    if (nowMs - this.#shownAtMs < REDRAW_INTERVAL_MS) return;
    this.#shownAtMs = nowMs;
    this.#shown = text.slice(0, Math.max(1, (this.#target.columns ?? 80) - 1));
    this.#target.write(`\r\u001b[K${this.#shown}`);
  }

  /** Writes a line that stays, above the status line. */
  interrupt(line: string): void {
    if (this.#shown === '') this.#target.write(line);
    else this.#target.write(`\r\u001b[K${line}${this.#shown}`);
  }

  /** Takes the status line away. */
  clear(): void {
    if (this.#shown === '') return;
    this.#target.write('\r\u001b[K');
    this.#shown = '';
  }
}
