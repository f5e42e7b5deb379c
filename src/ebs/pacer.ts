/** Successes are counted in slices of this length; the last second, and the one that goes on, are remembered. */
const SLICE_MS = 100;
const SLICE_COUNT = 11;

/** One wave of refused calls that were under way together is one sign. */
const CUT_INTERVAL_MS = 300;
/** What timers lose is caught up with, for so long. The service allows for more at once than this. */
const CATCH_UP_MS = 60;
const RATE_MIN = 2;
/** Beyond any quota of the service (5000/s), where pacing is of no use. */
const RATE_MAX = 20_000;
/** The first refusal may come before anything was counted. */
const FIRST_MIN = 100;

/** Refused again within this time: what is believed is too much, a little at first, then more and more. */
const SOON_MS = 1000;
const SOON_PART = 0.97;
const SOON_PART_MIN = 0.7;
/** For this part of the time calls waited for their turn: it was the rate that was too high, not a burst. */
const LIMITED_SHARE = 0.8;
const COUNTED_PART_MIN = 0.85;

/** How far below what is believed a cut goes, and how long it takes to come back there. */
const ROUGH = { part: 0.85, plateauSeconds: 1.5 } as const;
const FAIR = { part: 0.93, plateauSeconds: 3 } as const;
const GOOD = { part: 0.97, plateauSeconds: 6 } as const;

/** Not used up, and not refused, for so long: others may have left more of the quota since, or less. */
const FORGOTTEN_MS = 120_000;

/**
 * The rate of calls that a quota leaves, found by what it refuses: pure, with times coming in. What is believed after a
 * refusal is approached from below, held for a while, and then left behind faster and faster (the cubic growth of TCP's
 * congestion control, RFC 9438), so that a wrong belief does not last. So a call is refused every quarter of a minute or
 * so, where a number of calls in flight alone would have to be wrong by up to one: 200/s at 30 ms is six calls, and seven
 * are a sixth too many.
 *
 * Only time counts in which the rate was what calls waited for: a client that asks for less learns nothing of the quota.
 * If it is refused all the same, that was a burst, and the rate drops for a moment only.
 */
export class Pacer {
  readonly #ceiling: number;
  readonly #slices = new Array<number>(SLICE_COUNT).fill(0);
  #slice = 0;
  /** Calls a second that the quota is believed to allow; Infinity before anything was refused. */
  #believed = Number.POSITIVE_INFINITY;
  #growth: typeof ROUGH | typeof FAIR | typeof GOOD = ROUGH;
  /** Cuts that came soon after the one before, without a break. */
  #soonCount = 0;
  #cutMs = Number.NEGATIVE_INFINITY;
  /** Time since the last cut in which calls had to wait for their turn. */
  #limitedSeconds = 0;
  /** When a call last had to wait for its turn, or was refused. */
  #neededMs = Number.NEGATIVE_INFINITY;
  #nextMs = Number.NEGATIVE_INFINITY;

  /** @param ceiling calls a second that are never exceeded. Default: none. */
  constructor(ceiling = Number.POSITIVE_INFINITY) {
    this.#ceiling = ceiling;
  }

  /** Calls a second that may begin now; Infinity before anything was refused. */
  rate(nowMs: number): number {
    if (this.#believed === Number.POSITIVE_INFINITY || this.#isForgotten(nowMs)) return this.#ceiling;
    const { part, plateauSeconds } = this.#growth;
    const fromPlateau = this.#limitedSeconds / plateauSeconds - 1;
    const rate = this.#believed * (1 + (1 - part) * fromPlateau ** 3);
    return Math.min(this.#ceiling, rate > RATE_MAX ? Number.POSITIVE_INFINITY : rate);
  }

  /** Reserves the next turn. @returns in how many milliseconds it is; 0: now. */
  delayMs(nowMs: number): number {
    const rate = this.rate(nowMs);
    if (rate === Number.POSITIVE_INFINITY) return 0;
    const isLimited = this.#nextMs >= nowMs - CATCH_UP_MS;
    const atMs = isLimited ? this.#nextMs : nowMs;
    this.#nextMs = atMs + 1000 / rate;
    if (isLimited && this.#believed !== Number.POSITIVE_INFINITY) {
      this.#limitedSeconds += 1 / rate;
      this.#neededMs = nowMs;
    }
    return Math.max(0, atMs - nowMs);
  }

  /** A call was answered with what it asked for. */
  succeeded(nowMs: number): void {
    this.#turnTo(nowMs);
    this.#slices[this.#slice % SLICE_COUNT] = (this.#slices[this.#slice % SLICE_COUNT] ?? 0) + 1;
  }

  /** A call was refused for the rate of calls. */
  throttled(nowMs: number): void {
    this.#turnTo(nowMs);
    const sinceCutMs = nowMs - this.#cutMs;
    if (this.#believed !== Number.POSITIVE_INFINITY && sinceCutMs < CUT_INTERVAL_MS) return;
    this.#believe(nowMs, sinceCutMs);
    this.#neededMs = nowMs;
    this.#cutMs = nowMs;
    this.#limitedSeconds = 0;
  }

  #believe(nowMs: number, sinceCutMs: number): void {
    const rate = Math.min(RATE_MAX, this.rate(nowMs));
    const before = this.#growth;
    this.#growth = ROUGH;
    if (this.#believed === Number.POSITIVE_INFINITY || this.#isForgotten(nowMs)) {
      const reached = (Math.max(...this.#slices) * 1000) / SLICE_MS;
      this.#believed = Math.min(this.#ceiling, Math.max(FIRST_MIN, reached));
      this.#soonCount = 0;
      return;
    }
    let part = 1;
    if (sinceCutMs < SOON_MS) {
      this.#growth = before;
      if (before === ROUGH) this.#soonCount = Math.max(1, this.#soonCount);
      part = Math.max(SOON_PART_MIN, SOON_PART ** (2 ** this.#soonCount));
      this.#soonCount += 1;
    } else {
      this.#soonCount = 0;
      if (this.#limitedSeconds * 1000 >= LIMITED_SHARE * sinceCutMs) {
        this.#growth = before === ROUGH ? FAIR : GOOD;
        part = Math.max(COUNTED_PART_MIN, Math.min(1, this.#lastSecondRate(nowMs) / rate));
      }
    }
    this.#believed = Math.max(RATE_MIN, part * rate);
  }

  #isForgotten(nowMs: number): boolean {
    return nowMs - this.#neededMs > FORGOTTEN_MS;
  }

  #lastSecondRate(nowMs: number): number {
    const count = this.#slices.reduce((sum, slice) => sum + slice, 0);
    return (count * 1000) / ((SLICE_COUNT - 1) * SLICE_MS + (nowMs % SLICE_MS));
  }

  #turnTo(nowMs: number): void {
    const slice = Math.floor(nowMs / SLICE_MS);
    for (let next = Math.max(this.#slice + 1, slice - SLICE_COUNT + 1); next <= slice; next += 1) {
      this.#slices[((next % SLICE_COUNT) + SLICE_COUNT) % SLICE_COUNT] = 0;
    }
    this.#slice = Math.max(this.#slice, slice);
  }
}
