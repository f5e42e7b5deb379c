import fc from 'fast-check';
import t from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { ReadStreams, type ReadStream } from '../../src/snapshot/read-streams.js';
import { GIB, KIB, MIB, TIB } from '../../src/util/units.js';
import { seededNumbers } from '../fixtures/seeded.js';

const WINDOW_MAX = 32;

type Read = readonly [offset: number, lengthBytes: number];

function streamsOf(onForgotten?: (stream: ReadStream) => void): ReadStreams {
  return new ReadStreams({
    windowBlocksMax: WINDOW_MAX,
    ...(onForgotten === undefined ? {} : { onForgotten }),
  });
}

/** A range in requests of one size, none of which overtakes more than `depth` others. */
function sequence(start: number, totalBytes: number, requestBytes: number, depth = 1, seed = 1): Read[] {
  const random = seededNumbers(String(seed));
  const reads: { readonly read: Read; readonly place: number }[] = [];
  for (let at = 0; at < totalBytes; at += requestBytes) {
    const read: Read = [start + at, Math.min(requestBytes, totalBytes - at)];
    reads.push({ read, place: reads.length + (depth === 1 ? 0 : random(depth)) });
  }
  return reads.sort((a, b) => a.place - b.place).map(({ read }) => read);
}

t.test('a stream is found whatever the size and the order of its requests', (t) => {
  const property = fc.property(
    fc.record({
      start: fc.integer({ min: 0, max: 64 * GIB }),
      requestBytes: fc.constantFrom(4 * KIB, 16 * KIB, 128 * KIB, 256 * KIB, MIB, 3 * MIB),
      depth: fc.integer({ min: 1, max: 24 }),
      seed: fc.integer(),
    }),
    ({ start, requestBytes, depth, seed }) => {
      const streams = streamsOf();
      const totalBytes = Math.max(40 * MIB, 200 * requestBytes);
      let readBytes = 0;
      let largest = 0;
      for (const [offset, lengthBytes] of sequence(start, totalBytes, requestBytes, depth, seed)) {
        const window = streams.note(offset, lengthBytes)?.window;
        readBytes += lengthBytes;
        if (window === undefined) continue;
        const { startIndex, blockCount } = window;
        if (startIndex * BLOCK_BYTES < start) throw new Error('behind its beginning');
        if (blockCount > WINDOW_MAX || blockCount * BLOCK_BYTES > readBytes) {
          throw new Error(`${blockCount} blocks ahead after ${readBytes} bytes`);
        }
        largest = Math.max(largest, blockCount);
      }
      if (largest !== WINDOW_MAX) throw new Error(`only ${largest} blocks ahead`);
    },
  );
  const result = fc.check(property, { numRuns: 60 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
  t.end();
});

t.test('reads at random cause no read-ahead, whatever their size and however few places there are', (t) => {
  const property = fc.property(
    fc.constantFrom(4 * KIB, 64 * KIB, 256 * KIB, MIB),
    fc.constantFrom(4 * GIB, 100 * GIB, 64 * TIB),
    fc.integer(),
    (requestBytes, diskBytes, seed) => {
      const random = seededNumbers(String(seed));
      const streams = streamsOf();
      for (let count = 0; count < 3000; count += 1) {
        if (streams.note(random(diskBytes / requestBytes) * requestBytes, requestBytes) !== undefined) {
          throw new Error(`read ahead after ${count} reads`);
        }
      }
    },
  );
  const result = fc.check(property, { numRuns: 30 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
  t.end();
});

t.test('short runs, runs backwards, reads with gaps and repeated reads prove nothing', (t) => {
  const runs: Record<string, Read[]> = {
    'a file of 256 KiB across a border': sequence(BLOCK_BYTES - 128 * KIB, 256 * KIB, 16 * KIB),
    'two long reads that follow one another': [
      [0, 4 * MIB],
      [4 * MIB, 4 * MIB],
    ],
    backwards: sequence(0, 16 * MIB, 64 * KIB).reverse(),
    'backwards, overtaking one another': sequence(0, 16 * MIB, 64 * KIB, 4).reverse(),
    'one read in each block': Array.from({ length: 200 }, (_, index): Read => [index * BLOCK_BYTES, 4 * KIB]),
    'the same again and again': Array.from({ length: 200 }, (_, index): Read => [
      (index % 4) * 4 * KIB,
      4 * KIB,
    ]),
  };
  for (const [name, reads] of Object.entries(runs)) {
    const streams = streamsOf();
    t.notOk(
      reads.some(([offset, lengthBytes]) => streams.note(offset, lengthBytes) !== undefined),
      name,
    );
  }
  t.end();
});

t.test('several streams at the same time have each their window, among reads at random', (t) => {
  const streams = streamsOf();
  const random = seededNumbers('7');
  const starts = [0, 3, 10, 11, 40, 63].map((gib) => gib * GIB);
  const windows = new Map<number, number>();
  for (let at = 0; at < 32 * MIB; at += 128 * KIB) {
    for (const start of starts) {
      const window = streams.note(start + at, 128 * KIB)?.window;
      if (window !== undefined) windows.set(start, window.blockCount);
      streams.note(100 * GIB + random(1e6) * 4 * KIB, 4 * KIB);
    }
  }
  t.strictSame(
    [...windows.values()],
    starts.map(() => WINDOW_MAX),
  );
  t.end();
});

t.test('the window doubles while it is hit, and is halved by a jump within what was fetched', (t) => {
  const streams = streamsOf();
  const counts: number[] = [];
  let stream: ReadStream | undefined;
  const read = (offset: number): void => {
    const moved = streams.note(offset, 128 * KIB);
    if (moved?.window === undefined) return;
    stream = moved;
    counts.push(moved.window.blockCount);
  };
  for (let at = 0; at < 40 * BLOCK_BYTES; at += 128 * KIB) read(at);
  t.strictSame(counts.slice(0, 8), [1, 2, 3, 4, 5, 6, 7, 8], 'never more than what was read');
  t.equal(counts.at(-1), WINDOW_MAX);

  const next = stream!.window!.startIndex;
  for (let index = next; index < next + WINDOW_MAX; index += 1) stream!.aheadBlocks.add(index);
  read((next + 20) * BLOCK_BYTES);
  t.equal(stream!.window!.startIndex, next + 21);
  t.ok(stream!.aheadBlocks.size <= WINDOW_MAX - 21, 'what was passed is not expected any more');
  t.equal(counts.at(-1), WINDOW_MAX, 'half, and twice that for the block that was entered');

  t.equal(streams.note(50 * GIB, 4 * KIB), undefined, 'elsewhere it stops at once');
  t.end();
});

t.test('whoever reads the same again from further back is a stream as well', (t) => {
  const streams = streamsOf();
  const windowsOf = (reads: readonly Read[]): number =>
    reads.filter(([offset, lengthBytes]) => streams.note(offset, lengthBytes) !== undefined).length;
  const pass = sequence(0, 64 * MIB, 256 * KIB);
  const first = windowsOf(pass);
  t.ok(first > 100);
  t.ok(windowsOf(pass) > 100 - 17, 'up to the tail of the first one');
  t.end();
});

t.test('what is remembered is bounded, and proven streams outlast reads at random', (t) => {
  const forgotten: ReadStream[] = [];
  const streams = streamsOf((stream) => forgotten.push(stream));
  for (const [offset, lengthBytes] of sequence(0, 4 * MIB, 64 * KIB)) streams.note(offset, lengthBytes);
  for (let count = 1; count < 10_000; count += 1) streams.note(count * GIB, 4 * KIB);
  t.ok(streams.streamCount <= 80);
  t.equal(forgotten.length, 0);
  t.not(streams.note(4 * MIB, BLOCK_BYTES), undefined, 'it goes on where it was');

  for (let index = 1; index <= 40; index += 1) {
    for (const [offset, lengthBytes] of sequence(index * 7 * GIB, 4 * MIB, 64 * KIB)) {
      streams.note(offset, lengthBytes);
    }
  }
  t.ok(streams.streamCount <= 80);
  t.equal(forgotten.length, 41 - 16, 'the proven ones that were used least recently');
  streams.forget(streams.note(40 * 7 * GIB + 4 * MIB, BLOCK_BYTES)!);
  t.equal(streams.note(40 * 7 * GIB + 4 * MIB + BLOCK_BYTES, BLOCK_BYTES), undefined, 'forgotten on demand');
  t.end();
});

t.test('a read of what is in memory continues a stream, and begins none', async (t) => {
  const streams = new ReadStreams({ windowBlocksMax: 64 });
  for (const [offset, lengthBytes] of sequence(0, 4 * MIB, 64 * KIB)) {
    t.equal(streams.note(offset, lengthBytes, true), undefined);
  }
  t.equal(streams.streamCount, 0, 'all of it in memory: nothing to remember');
  streams.note(8 * MIB, 64 * KIB);
  const moved = sequence(8 * MIB + 64 * KIB, 4 * MIB, 64 * KIB).filter(
    ([offset, lengthBytes]) => streams.note(offset, lengthBytes, true) !== undefined,
  );
  t.ok(moved.length > 4, 'begun by one that was not, it goes on by those that are');
});
