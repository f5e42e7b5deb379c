import { assert } from '../util/assert.js';

/** Whole numbers from `start` up to, but not including, `end`. */
export interface NumberRange {
  readonly start: number;
  readonly end: number;
}

/** A set of whole numbers, kept as sorted ranges that neither touch nor overlap. */
export class RangeSet {
  #ranges: NumberRange[] = [];

  /** How many ranges the set consists of, which is what it costs. */
  get rangeCount(): number {
    return this.#ranges.length;
  }

  /** Adds [start, end). */
  add(start: number, end: number): void {
    assert(start <= end, `range ${start} to ${end}`);
    if (start === end) return;
    const first = this.#indexOfEndFrom(start);
    let last = first;
    let mergedStart = start;
    let mergedEnd = end;
    for (
      let range = this.#ranges[last];
      range !== undefined && range.start <= end;
      range = this.#ranges[last]
    ) {
      mergedStart = Math.min(mergedStart, range.start);
      mergedEnd = Math.max(mergedEnd, range.end);
      last += 1;
    }
    this.#ranges.splice(first, last - first, { start: mergedStart, end: mergedEnd });
  }

  /** Takes [start, end) out. */
  remove(start: number, end: number): void {
    assert(start <= end, `range ${start} to ${end}`);
    if (start === end) return;
    const first = this.#indexOfEndFrom(start + 1);
    const left: NumberRange[] = [];
    let last = first;
    for (
      let range = this.#ranges[last];
      range !== undefined && range.start < end;
      range = this.#ranges[last]
    ) {
      if (range.start < start) left.push({ start: range.start, end: start });
      if (range.end > end) left.push({ start: end, end: range.end });
      last += 1;
    }
    this.#ranges.splice(first, last - first, ...left);
  }

  /** The first range that has numbers at or after `from`, or undefined. It may begin before `from`. */
  firstFrom(from: number): NumberRange | undefined {
    return this.#ranges[this.#indexOfEndFrom(from + 1)];
  }

  /** The index of the first range whose end is at or after `end`. */
  #indexOfEndFrom(end: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#ranges[middle];
      assert(range !== undefined, 'a binary search left its array');
      if (range.end < end) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
