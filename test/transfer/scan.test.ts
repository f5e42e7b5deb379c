import t, { type Test } from 'tap';
import type { FoundRange, RangeSource } from '../../src/transfer/found-ranges.js';
import { scanAll, scanInOrder, scanSample } from '../../src/transfer/scan.js';
import { seededNumbers } from '../fixtures/seeded.js';

const { signal } = new AbortController();

/** A volume in which some blocks are written; a call tells of so many of them at most. */
function volumeOf(
  blockCount: number,
  fill: number,
  resultsMax = 500,
): RangeSource & { readonly written: Set<number> } {
  const random = seededNumbers(`${blockCount}/${fill}`);
  const written = new Set<number>();
  for (let block = 0; block < blockCount; block += 1) if (random(1000) < fill * 1000) written.add(block);
  const ascending = [...written];
  const look = (firstBlock: number, count: number): Promise<FoundRange> => {
    const found = ascending.filter((block) => block >= firstBlock).slice(0, count);
    const last = found.at(-1);
    const endBlock = found.length < count || last === undefined ? blockCount : last + 1;
    const runs = found.map((block) => ({ firstBlock: block, endBlock: block + 1, kind: 'data' as const }));
    return Promise.resolve({ firstBlock, endBlock, runs });
  };
  return {
    ...{ blockCount, written },
    list: (firstBlock) => look(firstBlock, resultsMax),
    probe: (firstBlock) => look(firstBlock, 10),
  };
}

/** Holds ranges to the volume: none twice, and each says what there is. */
function checker(
  t: Test,
  volume: ReturnType<typeof volumeOf>,
): { add(range: FoundRange): void; seenCount(): number } {
  const seen = new Set<number>();
  return {
    add: ({ firstBlock, endBlock, runs }) => {
      const found = new Set(runs.map((run) => run.firstBlock));
      for (let block = firstBlock; block < endBlock; block += 1) {
        if (seen.has(block)) t.fail(`block ${block} twice`);
        if (found.has(block) !== volume.written.has(block)) t.fail(`block ${block} is told wrongly`);
        seen.add(block);
      }
      if (runs.some((run) => run.firstBlock < firstBlock || run.endBlock > endBlock)) t.fail('a run outside');
    },
    seenCount: () => seen.size,
  };
}

for (const [blockCount, fill] of [
  [2048, 0],
  [2048, 1],
  [100_000, 0.01],
  [100_000, 0.4],
] as const) {
  t.test(`${blockCount} blocks, ${fill * 100} % of them written: each is told once`, async (t) => {
    const volume = volumeOf(blockCount, fill, 5000);
    const all = checker(t, volume);
    await scanAll(volume, signal, (range) => all.add(range));
    t.equal(all.seenCount(), blockCount);
    const ordered = checker(t, volume);
    let at = 0;
    for await (const range of scanInOrder(volume, signal)) {
      t.equal(range.firstBlock, at);
      at = range.endBlock;
      ordered.add(range);
    }
    t.equal(ordered.seenCount(), blockCount);
  });
}

t.test('a sample looks into every part, at nothing twice, and passes over what it knows', async (t) => {
  for (const fill of [0, 0.001, 0.5, 1]) {
    const volume = volumeOf(20_000, fill);
    const sample = checker(t, volume);
    let calls = 0;
    const firsts: number[] = [];
    await scanSample(volume, 64, signal, (range) => {
      calls += 1;
      firsts.push(range.firstBlock);
      sample.add(range);
    });
    t.ok(calls <= 64);
    if (fill >= 0.5) t.equal(calls, 64);
    if (fill <= 0.001) t.equal(sample.seenCount(), 20_000, 'all of it, since little is there');
    t.equal(new Set(firsts).size, calls);
  }
});

t.test('a failure ends it, and so does a signal', async (t) => {
  const volume = volumeOf(2048, 1);
  const broken = {
    ...volume,
    list: () => Promise.reject(new Error('no')),
    probe: () => Promise.reject(new Error('no')),
  };
  await t.rejects(
    scanAll(broken, signal, () => undefined),
    { message: 'no' },
  );
  await t.rejects(
    scanSample(broken, 8, signal, () => undefined),
    { message: 'no' },
  );
});
