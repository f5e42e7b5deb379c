import { RangeSet } from '../../device/range-set.js';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../../ebs/constants.js';
import type { SnapshotApi } from '../../ebs/snapshot-api.js';
import type { SnapshotDescription } from '../../ec2/ec2-api.js';
import { changedRanges, type RangeSource } from '../../transfer/found-ranges.js';
import { scanAll } from '../../transfer/scan-all.js';
import { messageOf, SnapnbdError } from '../../util/errors.js';
import { Lane, Limiter } from '../../util/limiter.js';

/** List calls under way for all pairs: as many as keep the 50 a second busy that an account has, at some 100 ms each. */
const LISTS_AT_ONCE = 6;

/** Of small volumes a pair is one call or two. */
const PAIRS_AT_ONCE = 6;

/** Ranges of changed blocks that are remembered of a pair; of one with more, every block counts as changed. */
const RANGES_MAX = 8192;

/** Two snapshots of one volume. */
export interface ComparedPair {
  readonly older: SnapshotDescription;
  readonly snapshot: SnapshotDescription;
}

/** What came of comparing two snapshots. */
export interface Comparison {
  /** Undefined where they could not be compared as a whole. */
  readonly changedBytes?: number;
  /** Why not: one line. */
  readonly problem?: string;
  /** Whether none of these blocks has changed, as far as that is known. */
  readonly isSameIn: (blocks: RangeSet) => boolean;
}

/** Who asks, and wants to know. */
export interface ComparingTask {
  readonly signal: AbortSignal;
  /** Of the pair whose turn it is. */
  readonly onProgress?: (snapshotId: string, comparedFraction: number) => void;
}

/**
 * Compares pairs of snapshots, some at once, and gives what came of them in their order. What cannot be compared is told in
 * its place.
 *
 * @throws the signal's reason.
 */
export async function* compareInOrder(
  { signal, onProgress }: ComparingTask,
  api: SnapshotApi,
  pairs: readonly ComparedPair[],
): AsyncGenerator<Comparison, undefined> {
  const leaving = new AbortController();
  const stop = AbortSignal.any([signal, leaving.signal]);
  const underWay: Promise<Comparison>[] = [];
  let turn = 0;
  const lists = new Limiter(LISTS_AT_ONCE);
  const begin = (pair: ComparedPair, position: number): Promise<Comparison> =>
    compare(pagedBy(lists, sourceOf(api, pair)), stop, (fraction) => {
      if (position === turn) onProgress?.(pair.snapshot.snapshotId, fraction);
    });
  let begun = 0;
  try {
    for (; turn < pairs.length; turn += 1) {
      for (const pair of pairs.slice(begun, turn + PAIRS_AT_ONCE)) {
        const comparison = begin(pair, begun);
        // Met when its turn comes.
        comparison.catch(() => undefined);
        underWay.push(comparison);
        begun += 1;
      }
      const [next] = underWay.splice(0, 1);
      if (next !== undefined) yield await next;
    }
  } finally {
    leaving.abort(new Error('nobody looks any more'));
    await Promise.allSettled(underWay);
  }
}

function sourceOf(api: SnapshotApi, { older, snapshot }: ComparedPair): RangeSource {
  const ids = { firstSnapshotId: older.snapshotId, secondSnapshotId: snapshot.snapshotId };
  return changedRanges(api, ids, snapshot.volumeSizeGib * BLOCKS_PER_GIB);
}

/** The same, each of its calls in a place of a limiter. */
function pagedBy(lists: Limiter, source: RangeSource): RangeSource {
  return {
    ...source,
    walk: (firstBlock) => {
      const walk = source.walk(firstBlock);
      return {
        get isLost() {
          return walk.isLost;
        },
        next: (signal) => lists.run(() => walk.next(signal), Lane.Demand, signal),
      };
    },
  };
}

async function compare(
  source: RangeSource,
  signal: AbortSignal,
  onProgress: (comparedFraction: number) => void,
): Promise<Comparison> {
  let changedBlocks = 0;
  const changed = new RangeSet();
  try {
    await scanAll(source, signal, ({ runs }, scannedBlocks) => {
      for (const { firstBlock, endBlock } of runs) {
        changedBlocks += endBlock - firstBlock;
        if (changed.rangeCount < RANGES_MAX) changed.add(firstBlock, endBlock);
        else changed.add(0, source.blockCount);
      }
      onProgress(scannedBlocks / source.blockCount);
    });
    return { changedBytes: changedBlocks * BLOCK_BYTES, isSameIn: (blocks) => !touches(blocks, changed) };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SnapnbdError)) throw error;
    return { problem: messageOf(error), isSameIn: () => false };
  }
}

function touches(blocks: RangeSet, changed: RangeSet): boolean {
  for (let range = blocks.firstFrom(0); range !== undefined; range = blocks.firstFrom(range.end)) {
    const found = changed.firstFrom(range.start);
    if (found !== undefined && found.start < range.end) return true;
  }
  return false;
}
