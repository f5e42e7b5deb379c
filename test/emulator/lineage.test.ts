import fc from 'fast-check';
import t from 'tap';
import { compareSnapshots } from '../../src/emulator/store/compare-snapshots.js';
import { begin, contentsOf, finish, openFolder, put, type OpenFolder } from '../fixtures/emulator-folder.js';
import { freshSeed } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

/** Around the borders of the pages of the index. */
const INDEXES = [0, 1, 2, 700, 2046, 2047, 2048, 2049, 4095, 4096, 6143];

interface Step {
  /** Which of the snapshots before it is the parent; beyond them: none. */
  readonly parent: number;
  readonly grow: number;
  readonly puts: readonly { readonly at: number; readonly n: number }[];
}

const step: fc.Arbitrary<Step> = fc.record({
  parent: fc.nat(6),
  grow: fc.nat(2),
  puts: fc.array(fc.record({ at: fc.nat(INDEXES.length - 1), n: fc.nat(4) }), { maxLength: 6 }),
});

interface ModelSnapshot {
  readonly snapshotId: string;
  readonly sizeGib: number;
  /** The root of its lineage. */
  readonly root: number;
  /** Which put each listed block comes from: every put has a name of its own. */
  readonly putNames: ReadonlyMap<number, string>;
  readonly contents: ReadonlyMap<number, number>;
}

async function build(folder: OpenFolder, steps: readonly Step[]): Promise<ModelSnapshot[]> {
  const model: ModelSnapshot[] = [];
  for (const [number, { parent, grow, puts }] of steps.entries()) {
    const base = model[parent];
    const sizeGib = Math.min(3, (base?.sizeGib ?? 1) + grow);
    const fitting = puts.filter(({ at }) => INDEXES[at]! < sizeGib * 2048);
    const { snapshotId } = await begin(folder, sizeGib, base?.snapshotId);
    for (const { at, n } of fitting) await put(folder, snapshotId, INDEXES[at]!, n);
    const distinct = new Set(fitting.map(({ at }) => at));
    if ((await finish(folder, snapshotId, distinct.size)) !== 'completed') throw new Error('not completed');
    const contents = new Map(base?.contents);
    const putNames = new Map(base?.putNames);
    for (const { at, n } of fitting) {
      contents.set(INDEXES[at]!, n);
      putNames.set(INDEXES[at]!, `${number}`);
    }
    model.push({ snapshotId, sizeGib, root: base?.root ?? number, contents, putNames });
  }
  return model;
}

function sorted<V>(map: ReadonlyMap<number, V>): [number, V][] {
  return [...map].sort(([a], [b]) => a - b);
}

t.test('[ebs: Writing / the child shows every block of the parent] random lineages', async (t) => {
  const seed = Number.parseInt(freshSeed().slice(0, 8), 16);
  t.comment(`seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 7 }), async (steps) => {
      const dir = workFolder(t);
      let folder = await openFolder(dir);
      try {
        const model = await build(folder, steps);
        // What a later process finds is what counts.
        await folder.close();
        folder = await openFolder(dir);
        for (const snapshot of model) {
          const found = await contentsOf(folder, snapshot.snapshotId);
          const expected = sorted(snapshot.contents);
          if (JSON.stringify([...found]) !== JSON.stringify(expected)) return false;
        }
        return await comparisonsAgree(folder, model);
      } finally {
        await folder.close();
      }
    }),
    { seed, numRuns: 12 },
  );
});

async function comparisonsAgree(folder: OpenFolder, model: readonly ModelSnapshot[]): Promise<boolean> {
  for (const first of model) {
    for (const second of model) {
      if (first.root !== second.root) {
        if (await folder.registry.areRelated(first.snapshotId, second.snapshotId)) return false;
        continue;
      }
      const expected = expectedChanges(first, second);
      const found = await changesInSteps(folder, first.snapshotId, second.snapshotId);
      if (JSON.stringify(found) !== JSON.stringify(expected)) return false;
    }
  }
  return true;
}

function expectedChanges(first: ModelSnapshot, second: ModelSnapshot): object[] {
  const end = second.sizeGib * 2048;
  const names = new Set([...first.putNames.keys(), ...second.putNames.keys()]);
  return [...names]
    .filter((index) => index < end && first.putNames.get(index) !== second.putNames.get(index))
    .sort((a, b) => a - b)
    .map((blockIndex) => ({
      blockIndex,
      inFirst: first.putNames.has(blockIndex),
      inSecond: second.putNames.has(blockIndex),
    }));
}

/** Two candidates at a time. */
async function changesInSteps(folder: OpenFolder, first: string, second: string): Promise<object[]> {
  const [firstView, secondView] = [
    await folder.registry.readableView(first),
    await folder.registry.readableView(second),
  ];
  const found: object[] = [];
  let from: number | undefined = 0;
  while (from !== undefined) {
    const { changed, nextBlockIndex } = await compareSnapshots(firstView, secondView, from, 2);
    for (const { blockIndex, inFirst, inSecond } of changed) found.push({ blockIndex, inFirst, inSecond });
    from = nextBlockIndex;
  }
  return found;
}

t.test('a lineage of 60 generations reads and lists like one snapshot', async (t) => {
  const folder = await openFolder(workFolder(t));
  t.teardown(() => folder.close());
  const expected = new Map<number, number>();
  let parent: string | undefined;
  for (let generation = 0; generation < 60; generation++) {
    const { snapshotId } = await begin(folder, 2, parent);
    const [index, n] = [(generation * 37) % 4096, 1 + (generation % 4)];
    await put(folder, snapshotId, index, n);
    t.equal(await finish(folder, snapshotId, 1), 'completed');
    expected.set(index, n);
    parent = snapshotId;
  }
  t.strictSame([...(await contentsOf(folder, parent!))], sorted(expected));
});
