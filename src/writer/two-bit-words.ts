import { AssertionError } from '../util/assert.js';

// Arrays of two-bit entries in 32-bit words, lowest bits first.

/** Entries in a word. */
export const ENTRIES_PER_WORD = 16;

/** A word whose entries all have this value. */
export function uniformWord(value: number): number {
  return (value * 0x5555_5555) >>> 0;
}

/** The entry at `index` of the array that begins at `start`. */
export function entryAt(words: Uint32Array, start: number, index: number): number {
  return ((words[start + (index >>> 4)] ?? 0) >>> ((index & 15) * 2)) & 3;
}

/**
 * Changes the entries from `from` up to, not including, `to`: bits of `keep` survive, bits of `set` are added, both
 * given for a single entry.
 */
export function changeEntries(
  words: Uint32Array,
  start: number,
  from: number,
  to: number,
  keep: number,
  set: number,
): void {
  if (from >= to) throw new AssertionError(`entries ${from} to ${to}`);
  const keepWord = uniformWord(keep);
  const setWord = uniformWord(set);
  const firstWord = from >>> 4;
  const lastWord = (to - 1) >>> 4;
  for (let word = firstWord; word <= lastWord; word += 1) {
    let mask = 0xffff_ffff;
    if (word === firstWord) mask = (mask << ((from & 15) * 2)) >>> 0;
    if (word === lastWord) mask = (mask & (0xffff_ffff >>> ((15 - ((to - 1) & 15)) * 2))) >>> 0;
    const old = words[start + word] ?? 0;
    words[start + word] = ((old & ~mask) | (old & mask & keepWord) | (mask & setWord)) >>> 0;
  }
}

/**
 * How far entries go on that `matches` accepts: the first index from `from` on whose entry it does not, at most `limit`.
 *
 * @param value one of those that it accepts, for looking at whole words.
 */
export function endOfRun(
  words: Uint32Array,
  start: number,
  from: number,
  limit: number,
  value: number,
  matches: (entry: number) => boolean,
): number {
  const whole = uniformWord(value);
  let index = from;
  while (index < limit) {
    if ((index & 15) === 0 && words[start + (index >>> 4)] === whole) {
      index += ENTRIES_PER_WORD;
    } else if (matches(entryAt(words, start, index))) {
      index += 1;
    } else {
      return index;
    }
  }
  return Math.min(index, limit);
}
