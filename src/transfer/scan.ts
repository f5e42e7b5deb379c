import { clipped, type FoundRange, type RangeSource, type RangeWalk } from './found-ranges.js';
import { LISTS_AT_ONCE, type OnRange } from './scan-all.js';

/** Lists all of a volume in the order of the disk, a page ahead of whoever takes them. */
export async function* scanInOrder(
  source: RangeSource,
  signal: AbortSignal,
): AsyncGenerator<FoundRange, void> {
  const walk = source.walk(0);
  let next: Promise<FoundRange> | undefined = nextRange(walk, signal);
  while (next !== undefined) {
    const range: FoundRange = await next;
    next = range.endBlock < source.blockCount ? nextRange(walk, signal) : undefined;
    // Met when its turn comes.
    next?.catch(() => undefined);
    yield range;
  }
}

/**
 * Looks at the beginning of each of some equal parts of a volume. A part of which an earlier look has told everything is
 * passed over.
 *
 * @throws {EbsError}; the signal's reason.
 */
export async function scanSample(
  source: RangeSource,
  partCount: number,
  signal: AbortSignal,
  onRange: OnRange,
): Promise<void> {
  const { blockCount } = source;
  const startOf = (part: number): number => Math.ceil((part * blockCount) / partCount);
  let nextPart = 0;
  const look = async (): Promise<void> => {
    const part = nextPart++;
    const range = await source.probe(startOf(part), signal);
    // What lies in parts that others have begun is theirs.
    let endPart = part + 1;
    while (endPart === nextPart && endPart < partCount && startOf(endPart + 1) <= range.endBlock) {
      endPart += 1;
      nextPart += 1;
    }
    onRange(clipped(range, startOf(endPart)), startOf(nextPart));
  };
  const work = async (): Promise<void> => {
    while (nextPart < partCount) await look();
  };
  // The first look may tell of all of it.
  await look();
  await Promise.all(Array.from({ length: LISTS_AT_ONCE }, work));
}

async function nextRange(walk: RangeWalk, signal: AbortSignal): Promise<FoundRange> {
  for (;;) {
    const range = await walk.next(signal);
    if (range !== undefined) return range;
  }
}
