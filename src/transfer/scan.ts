import type { FoundRange, RangeSource } from './found-ranges.js';

/** As many as keep the 50 list calls a second busy that an account has, at some 100 ms each. */
const LISTS_AT_ONCE = 6;
/** A part that is not worth dividing: some pages of a full disk. */
const PART_BLOCKS_MIN = 40_000;

/** Gets what was found. @param scannedBlocks how many blocks of the volume are known about by now. */
export type OnRange = (range: FoundRange, scannedBlocks: number) => void;

/**
 * Lists all of a volume, some parts of it at once: in no order, each block once.
 *
 * @throws {EbsError}; the signal's reason.
 */
export async function scanAll(source: RangeSource, signal: AbortSignal, onRange: OnRange): Promise<void> {
  const { blockCount } = source;
  const partCount = Math.max(1, Math.min(LISTS_AT_ONCE, Math.floor(blockCount / PART_BLOCKS_MIN)));
  let scannedBlocks = 0;
  const scanPart = async (part: number): Promise<void> => {
    const partEnd = Math.floor(((part + 1) * blockCount) / partCount);
    for (let at = Math.floor((part * blockCount) / partCount); at < partEnd;) {
      const range = clipped(await source.list(at, signal), partEnd);
      scannedBlocks += range.endBlock - at;
      at = range.endBlock;
      onRange(range, scannedBlocks);
    }
  };
  await Promise.all(Array.from({ length: partCount }, (_, part) => scanPart(part)));
}

/** Lists all of a volume in the order of the disk, a page ahead of whoever takes them. */
export async function* scanInOrder(
  source: RangeSource,
  signal: AbortSignal,
): AsyncGenerator<FoundRange, void> {
  let next: Promise<FoundRange> | undefined = source.list(0, signal);
  while (next !== undefined) {
    const range: FoundRange = await next;
    next = range.endBlock < source.blockCount ? source.list(range.endBlock, signal) : undefined;
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
  const work = async (): Promise<void> => {
    for (let part = nextPart++; part < partCount; part = nextPart++) {
      const firstBlock = startOf(part);
      const range = await source.probe(firstBlock, signal);
      // What lies in parts that others have begun is theirs.
      let endPart = part + 1;
      while (endPart === nextPart && endPart < partCount && startOf(endPart + 1) <= range.endBlock) {
        endPart += 1;
        nextPart += 1;
      }
      onRange(clipped(range, startOf(endPart)), startOf(nextPart));
    }
  };
  await Promise.all(Array.from({ length: LISTS_AT_ONCE }, work));
}

function clipped(range: FoundRange, end: number): FoundRange {
  if (range.endBlock <= end) return range;
  const runs = range.runs
    .filter(({ firstBlock }) => firstBlock < end)
    .map((run) => (run.endBlock <= end ? run : { ...run, endBlock: end }));
  return { firstBlock: range.firstBlock, endBlock: end, runs };
}
