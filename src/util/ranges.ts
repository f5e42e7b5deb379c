import { assert } from './assert.js';

/** The part of one unit (a block, a page) that a byte range covers. */
export interface UnitSpan {
  /** Which unit, from 0. */
  readonly unitIndex: number;
  /** Where the part begins inside the unit, in bytes. */
  readonly startInUnit: number;
  /** How long the part is, in bytes: at least 1, at most the unit. */
  readonly lengthBytes: number;
  /** Where the part begins inside the range, in bytes. */
  readonly startInRange: number;
}

/**
 * Splits the byte range [offset, offset + lengthBytes) at the borders of units of `unitBytes`. The spans cover
 * the range exactly once, in order; an empty range has none.
 */
export function* spansOf(offset: number, lengthBytes: number, unitBytes: number): Generator<UnitSpan, void> {
  assert(Number.isSafeInteger(offset) && offset >= 0, 'spansOf: the offset is no byte position');
  assert(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0, 'spansOf: the length is no number of bytes');
  assert(Number.isSafeInteger(offset + lengthBytes), 'spansOf: the end is beyond the safe integers');
  let startInRange = 0;
  while (startInRange < lengthBytes) {
    const position = offset + startInRange;
    const unitIndex = Math.floor(position / unitBytes);
    const startInUnit = position - unitIndex * unitBytes;
    const spanBytes = Math.min(unitBytes - startInUnit, lengthBytes - startInRange);
    yield { unitIndex, startInUnit, lengthBytes: spanBytes, startInRange };
    startInRange += spanBytes;
  }
}

/** True when [offset, offset + lengthBytes) lies within [0, sizeBytes); written so that nothing can wrap. */
export function isWithin(offset: number, lengthBytes: number, sizeBytes: number): boolean {
  return offset >= 0 && lengthBytes >= 0 && offset <= sizeBytes && lengthBytes <= sizeBytes - offset;
}
