import { LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../ebs/constants.js';

/** What is known when a block has to be listed. */
export interface ListingQuestion {
  /** Covered by no page. */
  readonly blockIndex: number;
  /** Blocks of the volume. */
  readonly blockCount: number;
  /** What a listed block takes in memory. */
  readonly bytesPerBlock: number;
  /** What may be used for all of them. */
  readonly bytesMax: number;
  /** The nearest page before the block. */
  readonly before: { readonly endIndex: number; readonly listedCount: number } | undefined;
  /** The nearest page after it. */
  readonly after: { readonly startIndex: number; readonly listedCount: number } | undefined;
  /** The caller goes on to the blocks that follow, as a map of the whole does. */
  readonly bulk: boolean;
}

/** Where a listing begins, and how long it may be. */
export interface Listing {
  readonly startIndex: number;
  readonly resultsMax: number;
}

/** By how much the next page may be longer than the one it continues. */
const GROWTH = 4;

/**
 * Decides what to list to find out about one block. A list call costs time in proportion to its results (10,000 take
 * some 30 ms of CPU) and the calls are limited to 50/s, so:
 *
 * - when all tokens of the volume would fit into memory, every page is as long as can be: each is then listed once;
 * - when not, a lookup far from all pages gets the shortest page, since the rest would be dropped unread, and one
 *   beside a page gets one four times as long as that, so that a stream soon has pages of 10,000.
 *
 * Listings begin at multiples of their length or where a page ends, so that lookups near one another ask for the same.
 */
export function chooseListing(question: ListingQuestion): Listing {
  const { blockIndex, blockCount, before, after } = question;
  const beforeEnd = before?.endIndex ?? 0;
  if (question.bulk) return { startIndex: blockIndex, resultsMax: LIST_RESULTS_MAX };

  if (blockCount * question.bytesPerBlock <= question.bytesMax) {
    return { startIndex: gridStart(blockIndex, LIST_RESULTS_MAX, beforeEnd), resultsMax: LIST_RESULTS_MAX };
  }
  if (before !== undefined && blockIndex - beforeEnd < reach(before.listedCount)) {
    return { startIndex: beforeEnd, resultsMax: grown(before.listedCount) };
  }
  if (after !== undefined && after.startIndex - blockIndex <= reach(after.listedCount)) {
    const resultsMax = grown(after.listedCount);
    const startIndex = Math.max(beforeEnd, Math.min(blockIndex, after.startIndex - resultsMax));
    return { startIndex, resultsMax };
  }
  return { startIndex: gridStart(blockIndex, LIST_RESULTS_MIN, beforeEnd), resultsMax: LIST_RESULTS_MIN };
}

function gridStart(blockIndex: number, step: number, lowest: number): number {
  return Math.max(lowest, blockIndex - (blockIndex % step));
}

function reach(listedCount: number): number {
  return Math.max(LIST_RESULTS_MIN, listedCount);
}

function grown(listedCount: number): number {
  return Math.min(LIST_RESULTS_MAX, Math.max(LIST_RESULTS_MIN, listedCount * GROWTH));
}
