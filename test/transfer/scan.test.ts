import t, { type Test } from 'tap';
import {
  changedRanges,
  writtenRanges,
  type FoundRange,
  type RangeSource,
} from '../../src/transfer/found-ranges.js';
import { scanAll } from '../../src/transfer/scan-all.js';
import { scanInOrder, scanSample } from '../../src/transfer/scan.js';
import { createSynth } from '../../src/emulator/synth/create-synth.js';
import { BLOCKS_PER_GIB } from '../../src/ebs/constants.js';
import { SnapshotStatus, type SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { emulatedApi } from '../fixtures/emulated-api.js';
import { freshSeed, seededNumbers } from '../fixtures/seeded.js';
import { numberedBlock } from '../fixtures/emulator-folder.js';

const { signal } = new AbortController();
/** Listings that run beside each other. */
const PARTS = 6;

interface Volume extends RangeSource {
  readonly written: ReadonlySet<number>;
  /** Calls of the shortest listing. */
  readonly callsMin: number;
  callCount: number;
}

interface VolumeOptions {
  readonly blockCount: number;
  /** Of candidates. */
  readonly fill: (block: number) => number;
  /** Candidates that are told. Default: all. */
  readonly isTold?: (block: number) => boolean;
  /** Candidates that a call covers. Default: 500. */
  readonly resultsMax?: number;
}

/** A volume with candidates, of which a call covers so many and tells some. */
function volumeOf({ blockCount, fill, isTold = () => true, resultsMax = 500 }: VolumeOptions): Volume {
  const random = seededNumbers(`${blockCount}`);
  const candidates: number[] = [];
  for (let block = 0; block < blockCount; block += 1)
    if (random(1000) < fill(block) * 1000) candidates.push(block);
  const written = new Set(candidates.filter(isTold));
  const indexOf = (block: number): number => {
    const at = candidates.findIndex((candidate) => candidate >= block);
    return at < 0 ? candidates.length : at;
  };
  const runsOf = (blocks: readonly number[]): FoundRange['runs'] =>
    blocks.map((block) => ({ firstBlock: block, endBlock: block + 1, kind: 'data' as const }));
  const volume: Volume = {
    ...{ blockCount, written },
    callsMin: Math.max(1, Math.ceil(candidates.length / resultsMax)),
    callCount: 0,
    walk: (start) => {
      let at = indexOf(start);
      let firstBlock = start;
      let isLost = false;
      return {
        get isLost() {
          return isLost;
        },
        next: async () => {
          volume.callCount += 1;
          await new Promise((resolve) => setImmediate(resolve));
          const found = candidates.slice(at, at + resultsMax).filter(isTold);
          at += resultsMax;
          const isLast = at >= candidates.length;
          isLost = found.length === 0 && !isLast;
          if (isLost) return undefined;
          const endBlock = isLast ? blockCount : (found.at(-1) ?? 0) + 1;
          const range = { firstBlock, endBlock, runs: runsOf(found) };
          firstBlock = endBlock;
          return range;
        },
      };
    },
    probe: (firstBlock) => {
      const at = indexOf(firstBlock);
      const found = candidates.slice(at, at + 10);
      const endBlock = at + 10 >= candidates.length ? blockCount : (found.at(-1) ?? 0) + 1;
      return Promise.resolve({ firstBlock, endBlock, runs: runsOf(found) });
    },
  };
  return volume;
}

/** Holds ranges to the volume: none twice, and each says what there is. */
function checker(t: Test, volume: Volume): { add(range: FoundRange): void; seenCount(): number } {
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

const volumes: Record<string, VolumeOptions> = {
  empty: { blockCount: 2048, fill: () => 0 },
  'small and full': { blockCount: 2048, fill: () => 1 },
  sparse: { blockCount: 100_000, fill: () => 0.004 },
  'half full': { blockCount: 40_000, fill: () => 0.4 },
  'full, and not changed': { blockCount: 40_000, fill: () => 1, isTold: () => false },
  'full, its last block changed': { blockCount: 40_000, fill: () => 1, isTold: (block) => block === 39_999 },
  'full, changed at its beginning': { blockCount: 40_000, fill: () => 1, isTold: (block) => block < 3000 },
  'full, one in fifty changed': { blockCount: 40_000, fill: () => 1, isTold: (block) => block % 50 === 7 },
  'full at its beginning': { blockCount: 40_000, fill: (block) => (block < 2000 ? 1 : 0.001) },
};

for (const [name, options] of Object.entries(volumes)) {
  t.test(`${name}: each block is told once, and read once`, async (t) => {
    const volume = volumeOf(options);
    const all = checker(t, volume);
    t.equal(await scanAll(volume, signal, (range) => all.add(range)), true);
    t.equal(all.seenCount(), volume.blockCount);
    t.ok(volume.callCount <= volume.callsMin + PARTS, `${volume.callCount} calls, ${volume.callsMin} needed`);
    volume.callCount = 0;
    const ordered = checker(t, volume);
    let at = 0;
    for await (const range of scanInOrder(volume, signal)) {
      t.equal(range.firstBlock, at);
      at = range.endBlock;
      ordered.add(range);
    }
    t.equal(ordered.seenCount(), volume.blockCount);
    t.equal(volume.callCount, volume.callsMin);
  });
}

t.test('whatever lies where, no listing reads what another has read', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  for (let round = 0; round < 25; round += 1) {
    // Stretches that are full or not, and changed or not.
    const stretches = Array.from(
      { length: 12 },
      () => [random(3) / 2, random(3) === 0 ? random(30) : 0] as const,
    );
    const of = (block: number): readonly [number, number] => stretches[Math.floor(block / 1000)] ?? [0, 0];
    const volume = volumeOf({
      ...{ blockCount: 12_000, resultsMax: 20 + random(200) },
      fill: (block) => of(block)[0],
      isTold: (block) => of(block)[1] > 0 && block % of(block)[1] === 0,
    });
    const all = checker(t, volume);
    await scanAll(volume, signal, (range) => all.add(range));
    t.equal(all.seenCount(), volume.blockCount);
    t.ok(
      volume.callCount <= volume.callsMin + 2 * PARTS,
      `${volume.callCount} calls, ${volume.callsMin} needed`,
    );
  }
});

t.test('it gives up where it would take too many calls', async (t) => {
  const volume = volumeOf({ blockCount: 40_000, fill: () => 1 });
  t.equal(await scanAll(volume, signal, () => undefined, 20), false);
  t.equal(volume.callCount, 20);
});

t.test('a sample looks into every part, at nothing twice, and passes over what it knows', async (t) => {
  for (const fill of [0, 0.001, 0.5, 1]) {
    const volume = volumeOf({ blockCount: 20_000, fill: () => fill });
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
    if (fill === 0) t.equal(calls, 1, 'one look told everything');
    t.equal(new Set(firsts).size, calls);
  }
});

t.test('a failure ends it, and so does a signal', async (t) => {
  const volume = volumeOf({ blockCount: 40_000, fill: () => 1 });
  let calls = 0;
  const broken: RangeSource = {
    ...volume,
    walk: (firstBlock) => {
      const walk = volume.walk(firstBlock);
      return {
        isLost: false,
        next: (stop) => {
          calls += 1;
          stop.throwIfAborted();
          return calls > 12 ? Promise.reject(new Error('no')) : walk.next(stop);
        },
      };
    },
    probe: () => Promise.reject(new Error('no')),
  };
  await t.rejects(
    scanAll(broken, signal, () => undefined),
    { message: 'no' },
  );
  t.ok(calls <= 12 + PARTS, 'the others end as well');
  await t.rejects(
    scanSample(broken, 8, signal, () => undefined),
    { message: 'no' },
  );
  const stop = new AbortController();
  stop.abort(new Error('stopped'));
  calls = 0;
  await t.rejects(
    scanAll(broken, stop.signal, () => undefined),
    { message: 'stopped' },
  );
});

/** Makes a snapshot in which these blocks differ from its parent. */
async function childOf(
  api: SnapshotApi,
  parentSnapshotId: string,
  volumeSizeGib: number,
  written: readonly number[],
): Promise<string> {
  const clientToken = `${parentSnapshotId}/${written.join()}`;
  const { snapshotId } = await api.startSnapshot({ volumeSizeGib, parentSnapshotId, clientToken });
  const { bytes, digest } = numberedBlock(1);
  for (const blockIndex of written)
    await api.putSnapshotBlock({ snapshotId, blockIndex, bytes, checksum: digest.toString('base64') });
  const completion = { snapshotId, changedBlocksCount: written.length };
  while ((await api.completeSnapshot(completion)) !== SnapshotStatus.Completed);
  return snapshotId;
}

t.test(
  "by the emulator's count, no more calls than a listing from the beginning to the end, and the parts",
  async (t) => {
    const { dir, emulator, api } = await emulatedApi(t);
    const countOf = (operation: 'ListSnapshotBlocks' | 'ListChangedBlocks'): number =>
      emulator.stats().operations[operation].requests;
    const written = async (snapshotId: string): Promise<number> => {
      const before = countOf('ListSnapshotBlocks');
      const source = await writtenRanges(api, snapshotId, signal);
      let blocks = 0;
      await scanAll(source, signal, ({ firstBlock, endBlock }) => (blocks += endBlock - firstBlock));
      t.equal(blocks, source.blockCount);
      return countOf('ListSnapshotBlocks') - before;
    };
    const compared = async (
      firstSnapshotId: string,
      secondSnapshotId: string,
      gib: number,
    ): Promise<number> => {
      const before = countOf('ListChangedBlocks');
      const source = changedRanges(api, { firstSnapshotId, secondSnapshotId }, gib * BLOCKS_PER_GIB);
      await scanAll(source, signal, () => undefined);
      return countOf('ListChangedBlocks') - before;
    };
    const synth = (volumeSizeGib: number, fill: number): Promise<string> =>
      createSynth({ dir, volumeSizeGib, fill });
    t.equal(await written(await synth(65_536, 0)), 1, '64 TiB, empty');
    const sparse = await synth(65_536, 0.000_05);
    t.equal(await written(sparse), 1, '64 TiB, sparse');
    const full = await synth(128, 1);
    const pages = Math.ceil((128 * BLOCKS_PER_GIB) / 10_000);
    const calls = await written(full);
    t.ok(calls >= pages && calls <= pages + PARTS, `full: ${calls} calls, ${pages} needed`);
    const same = await childOf(api, full, 128, []);
    t.equal(await compared(full, same, 128), pages, 'nothing changed');
    const last = await childOf(api, full, 128, [128 * BLOCKS_PER_GIB - 1]);
    t.equal(await compared(full, last, 128), pages, 'the last block changed');
    t.equal(await compared(sparse, await childOf(api, sparse, 65_536, [1_000_000]), 65_536), 1);
  },
);
