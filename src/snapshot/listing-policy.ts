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
 * Decides what to list to find out about one block. A list call takes time in proportion to its results (10,000 are
 * some 30 ms of CPU), and the account has 50 calls a second:
 *
 * - When the tokens of the whole volume would fit into memory, a lookup lists as much as one call can: all of them
 *   together list everything once.
 * - The less of the volume would fit, the sooner a page is dropped again, and the shorter it is: by the third power, down
 *   to the shortest that the service allows. For lookups here and there, what is found at hand is the part of the volume that
 *   fits, whatever the length of the pages; but a long one takes its time, and memory while it is read.
 * - Beside a page, the next one is four times as long as that one, so that a stream soon lists 10,000 at a time.
 *
 * Listings begin at multiples of their length or where a page ends, so that lookups near one another ask for the same.
 */
export function chooseListing(question: ListingQuestion): Listing {
  const { blockIndex, before, after } = question;
  const beforeEnd = before?.endIndex ?? 0;
  if (question.bulk) return { startIndex: blockIndex, resultsMax: LIST_RESULTS_MAX };

  const fittingPart = Math.min(1, question.bytesMax / (question.blockCount * question.bytesPerBlock));
  const alone = bounded(LIST_RESULTS_MAX * fittingPart ** 3);
  const afterBefore = grown(before?.listedCount ?? 0);
  if (afterBefore > alone && blockIndex - beforeEnd < reach(before?.listedCount ?? 0)) {
    return { startIndex: beforeEnd, resultsMax: afterBefore };
  }
  const beforeAfter = grown(after?.listedCount ?? 0);
  if (
    after !== undefined &&
    beforeAfter > alone &&
    after.startIndex - blockIndex <= reach(after.listedCount)
  ) {
    const startIndex = Math.max(beforeEnd, Math.min(blockIndex, after.startIndex - beforeAfter));
    return { startIndex, resultsMax: beforeAfter };
  }
  return { startIndex: Math.max(beforeEnd, blockIndex - (blockIndex % alone)), resultsMax: alone };
}

/**
 * The results of the first listing of a volume, of whose beginning most clients read something: as many as one call has,
 * or as find room in a quarter of the memory when so many volumes share it.
 *
 * @param bytesPerBlock what a listed block takes in memory. @param bytesMax what may be used for all volumes.
 */
export function firstResultsMax(bytesPerBlock: number, bytesMax: number, volumeCount: number): number {
  return bounded(bytesMax / 4 / volumeCount / bytesPerBlock);
}

function bounded(count: number): number {
  return Math.min(LIST_RESULTS_MAX, Math.max(LIST_RESULTS_MIN, Math.floor(count)));
}

function grown(listedCount: number): number {
  return bounded(listedCount * GROWTH);
}

// A block so close to a page is most likely the next one of a stream.
function reach(listedCount: number): number {
  return bounded(listedCount);
}
