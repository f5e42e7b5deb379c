import { clipped, type FoundRange, type RangeSource, type RangeWalk } from './found-ranges.js';

/** As many as keep the 50 list calls a second busy that an account has, at some 100 ms each. */
export const LISTS_AT_ONCE = 6;

/** A part that is not worth dividing, by what the pages before it have covered. */
const PART_PAGES_MIN = 4;

/** Gets what was found. @param scannedBlocks how many blocks of the volume are known about by now. */
export type OnRange = (range: FoundRange, scannedBlocks: number) => void;

/**
 * Lists all of a volume, some parts of it at once: in no order, each block once. Takes one call for each part more than a
 * listing from the beginning to the end, most of the time; and at most two.
 *
 * @param callsMax gives up after so many. Default: never.
 * @returns whether all of it was listed.
 * @throws {EbsError}; the signal's reason.
 */
export async function scanAll(
  source: RangeSource,
  signal: AbortSignal,
  onRange: OnRange,
  callsMax = Number.POSITIVE_INFINITY,
): Promise<boolean> {
  return new WholeScan({ source, signal, onRange, callsMax }).run();
}

/** A part of a volume with a listing of its own. */
interface Part {
  readonly walk: RangeWalk;
  readonly firstBlock: number;
  /** Everything before, from `firstBlock` on, is known. */
  nextBlock: number;
  endBlock: number;
  /** Whether it stands still until the parts before it are done. */
  isWaiting: boolean;
}

interface ScanOptions {
  readonly source: RangeSource;
  readonly signal: AbortSignal;
  readonly onRange: OnRange;
  readonly callsMax: number;
}

/**
 * A listing among empty pages may be anywhere: if it went on beside others, it would read what they read. So such a one
 * waits for those before it, and when one of these comes past its beginning, takes it over.
 */
class WholeScan {
  readonly #source: RangeSource;
  readonly #onRange: OnRange;
  readonly #callsMax: number;
  readonly #failing = new AbortController();
  readonly #signal: AbortSignal;
  /** Ascending. */
  #parts: Part[] = [];
  #callCount = 0;
  #scannedBlocks = 0;
  #gaveUp = false;

  constructor({ source, signal, onRange, callsMax }: ScanOptions) {
    this.#source = source;
    this.#onRange = onRange;
    this.#callsMax = callsMax;
    this.#signal = AbortSignal.any([signal, this.#failing.signal]);
  }

  async run(): Promise<boolean> {
    const { blockCount } = this.#source;
    const walk = this.#source.walk(0);
    const whole = { walk, firstBlock: 0, nextBlock: 0, endBlock: blockCount, isWaiting: false };
    this.#parts = [whole];
    // How full the volume is, and so whether it is worth dividing, is known when the listing knows where it is.
    while (whole.nextBlock === 0 && !this.#gaveUp) await this.#step(whole);
    if (whole.nextBlock < blockCount && !this.#gaveUp) await this.#scanParts(whole);
    return !this.#gaveUp;
  }

  async #scanParts(whole: Part): Promise<void> {
    const { blockCount } = this.#source;
    const { nextBlock } = whole;
    const left = blockCount - nextBlock;
    const pagesLeft = (left * this.#callCount) / nextBlock;
    const partCount = Math.max(1, Math.min(LISTS_AT_ONCE, Math.floor(pagesLeft / PART_PAGES_MIN), left));
    const startOf = (part: number): number => nextBlock + Math.floor((part * left) / partCount);
    whole.endBlock = startOf(1);
    for (let part = 1; part < partCount; part += 1) {
      const firstBlock = startOf(part);
      const walk = this.#source.walk(firstBlock);
      this.#parts.push({
        ...{ walk, firstBlock, nextBlock: firstBlock },
        ...{ endBlock: startOf(part + 1), isWaiting: false },
      });
    }
    const first = this.#parts.map((part) => this.#step(part));
    const begun = Promise.all(first);
    const tasks: Promise<void>[] = [];
    for (const part of this.#parts) {
      const before = Promise.all([begun, ...tasks]);
      tasks.push(this.#scanPart(part, first[tasks.length], before));
    }
    for (const task of tasks) task.catch((error: unknown) => this.#failing.abort(error));
    await Promise.allSettled(tasks);
    if (this.#failing.signal.aborted) throw this.#failing.signal.reason;
  }

  async #scanPart(part: Part, firstStep: Promise<void> | undefined, before: Promise<unknown>): Promise<void> {
    // Whoever does not wait for it must not leave it unmet.
    before.catch(() => undefined);
    await firstStep;
    let hasItsTurn = false;
    while (part.nextBlock < part.endBlock && !this.#gaveUp) {
      if (part.walk.isLost && !hasItsTurn) {
        part.isWaiting = true;
        await before;
        part.isWaiting = false;
        hasItsTurn = true;
      } else {
        await this.#step(part);
      }
    }
  }

  async #step(part: Part): Promise<void> {
    if (this.#callCount === this.#callsMax) {
      this.#gaveUp = true;
      return;
    }
    this.#callCount += 1;
    const range = await part.walk.next(this.#signal);
    if (range === undefined) return;
    this.#takeOver(part, range.endBlock);
    const told = clipped(range, part.endBlock);
    part.nextBlock = told.endBlock;
    this.#scannedBlocks += told.endBlock - told.firstBlock;
    this.#onRange(told, this.#scannedBlocks);
  }

  /** A listing that has come past the beginnings of others, which know nothing of themselves, goes on for them. */
  #takeOver(part: Part, endBlock: number): void {
    for (const other of this.#parts.slice(this.#parts.indexOf(part) + 1)) {
      if (other.endBlock === other.firstBlock) continue;
      if (endBlock <= part.endBlock || !other.isWaiting || other.nextBlock > other.firstBlock) return;
      part.endBlock = other.endBlock;
      other.endBlock = other.firstBlock;
    }
  }
}
