import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { RegisteredExport } from '../../src/app/export-registry.js';
import { openForkExport } from '../../src/app/fork-export.js';
import { DeviceError } from '../../src/device/device-error.js';
import { CallFigures } from '../../src/ebs/call-figures.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { CostMeter } from '../../src/ebs/cost.js';
import { EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { SnapshotStatus } from '../../src/ebs/snapshot-api.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import { Limiter } from '../../src/util/limiter.js';
import { silentLogger } from '../../src/util/logger.js';
import { FakeEbs } from '../fixtures/fake-ebs.js';
import { fail } from '../fixtures/fake-snapshot.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { freshSeed, seededNumbers } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

const SECTOR_BYTES = 512;
const BLOCKS = 5;
const SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES;
const SECTORS = BLOCKS * SECTORS_PER_BLOCK;

const CONTENT = Buffer.alloc(BLOCK_BYTES, 7);

type Numbers = (below: number) => number;

/** A snapshot that is there, with the same in all of its blocks. */
function addSnapshot(ebs: FakeEbs, blocks: readonly number[], parentSnapshotId?: string): string {
  const snapshotId = `snap-${(ebs.snapshots.size + 1).toString(16).padStart(17, '0')}`;
  ebs.snapshots.set(snapshotId, {
    snapshotId,
    request: { clientToken: snapshotId, volumeSizeGib: 1, ...(parentSnapshotId && { parentSnapshotId }) },
    blocks: new Map(blocks.map((block) => [block, CONTENT])),
    status: SnapshotStatus.Completed,
    unreadableCount: 0,
  });
  return snapshotId;
}

interface Place {
  readonly ebs: FakeEbs;
  readonly clock: ManualClock;
  readonly stateDir: string;
}

function open(
  { ebs, clock, stateDir }: Place,
  snapshotId: string,
  since: readonly string[],
  hasOneBitmap = false,
): Promise<RegisteredExport> {
  const connection = {
    api: ebs,
    limiter: new Limiter(4),
    openEc2: () => Promise.reject(new Error('there is no EC2 here')),
    figures: new CallFigures(clock),
    meter: new CostMeter(),
    putLimiter: new Limiter(4),
    usage: () => assert.fail('nobody asks'),
    close: () => Promise.resolve(),
  };
  return openForkExport(
    'd',
    { kind: 'fork', snapshotId, since },
    {
      ...{ connection, hasOneBitmap, clock },
      cache: new BlockCache(BLOCK_BYTES),
      logger: silentLogger,
      readsAhead: false,
      forks: { stateDir },
    },
  );
}

/** What a context says of each sector, asked in parts of any length, and again where it fails. */
async function flagsBySector(
  { device }: RegisteredExport,
  name: string,
  random: Numbers,
): Promise<Uint8Array> {
  const flags = new Uint8Array(SECTORS);
  const source = device.metaContexts?.get(name) ?? assert.fail(name);
  for (let at = 0; at < SECTORS;) {
    const count = Math.min(SECTORS - at, 1 + random(2 * SECTORS_PER_BLOCK));
    const question = [at * SECTOR_BYTES, count * SECTOR_BYTES, { extentsMax: 1 + random(6) }] as const;
    try {
      for (const extent of await source.extents(...question)) {
        const sectors = extent.lengthBytes / SECTOR_BYTES;
        flags.fill(extent.flags, at, at + sectors);
        at += sectors;
      }
    } catch (error) {
      if (!(error instanceof DeviceError && error.errno === 'EIO')) throw error;
    }
  }
  return flags;
}

/** For each block of a snapshot, the snapshot that it was put to. */
type Puts = ReadonlyMap<number, string>;

function putsOf(ebs: FakeEbs, snapshotId: string): Puts {
  const { request, blocks } = ebs.snapshots.get(snapshotId) ?? assert.fail(snapshotId);
  const inherited = request.parentSnapshotId === undefined ? [] : putsOf(ebs, request.parentSnapshotId);
  return new Map([...inherited, ...[...blocks.keys()].map((block) => [block, snapshotId] as const)]);
}

const blockOf = (sector: number): number => Math.floor(sector / SECTORS_PER_BLOCK);

/** What is to be said of each sector, in the flags of `ebs:changed:`. */
function modelFlags(first: Puts, base: Puts, staged: Uint8Array): Uint8Array {
  return staged.map((flags, sector) => {
    if (flags !== 0) return flags;
    const block = blockOf(sector);
    const [before, after] = [first.get(block), base.get(block)];
    if (before === after) return 0;
    return 1 | (after === undefined ? 2 : 0) | (before === undefined ? 4 : 0);
  });
}

/** Blocks that neither snapshot has, and of which parts were trimmed at most: nothing is put for them. */
function untouchedHoles(first: Puts, base: Puts, staged: Uint8Array): ReadonlySet<number> {
  const holes = new Set(Array.from({ length: BLOCKS }, (_, block) => block));
  for (const block of [...first.keys(), ...base.keys()]) holes.delete(block);
  staged.forEach((flags, sector) => flags === 1 && holes.delete(blockOf(sector)));
  return holes;
}

const OVERLAY_OF = [1, 0, undefined, 2, undefined, 0, undefined, 2];

/** Writes or trims somewhere, and notes it. */
async function change({ device }: RegisteredExport, staged: Uint8Array, random: Numbers): Promise<void> {
  const start = random(SECTORS);
  const end = Math.min(SECTORS, start + 1 + random(random(3) === 0 ? SECTORS_PER_BLOCK : 9));
  const [offset, lengthBytes] = [start * SECTOR_BYTES, (end - start) * SECTOR_BYTES];
  const isTrim = random(3) === 0;
  if (isTrim) await device.trim?.(offset, lengthBytes);
  else await device.write?.(offset, Buffer.alloc(lengthBytes, 1));
  staged.fill(isTrim ? 3 : 1, start, end);
}

function differenceOf(found: Uint8Array, wanted: Uint8Array): string | undefined {
  const at = found.findIndex((flags, sector) => flags !== wanted[sector]);
  return at < 0 ? undefined : `sector ${at} is ${found[at]}, and not ${wanted[at]}`;
}

t.test('random writes, trims and commits, while calls fail, against a model', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  for (let round = 0; round < 2; round += 1) {
    const ebs = new FakeEbs();
    const root = addSnapshot(ebs, [0, 1]);
    const base = addSnapshot(ebs, [1, 2], root);
    const since = [root, base, addSnapshot(ebs, [0, 4], root), addSnapshot(ebs, [3], base)];
    const place = { ebs, clock: new ManualClock(), stateDir: join(workFolder(t), 'state') };
    const served = await open(place, base, since);
    const { fork } = served;
    assert(fork !== undefined);
    ebs.before = (operation) => {
      if (operation === EbsOperation.ListChangedBlocks && random(3) === 0)
        throw fail(EbsErrorKind.ThrottledAccount);
    };
    const staged = new Uint8Array(SECTORS);
    let basePuts = putsOf(ebs, base);
    for (let generation = 0; generation < 2; generation += 1) {
      for (let count = random(5); count > 0; count -= 1) await change(served, staged, random);
      const wanted = new Map(since.map((id) => [id, modelFlags(putsOf(ebs, id), basePuts, staged)]));
      for (const [id, flags] of wanted) {
        const says = async (prefix: string): Promise<Uint8Array> =>
          flagsBySector(served, prefix + id, random);
        t.equal(differenceOf(await says('ebs:changed:'), flags), undefined, 'changed');
        t.equal(
          differenceOf(
            await says('qemu:dirty-bitmap:'),
            flags.map((of) => of & 1),
          ),
          undefined,
          'dirty',
        );
        t.equal(
          differenceOf(
            await says('ebs:overlay:'),
            flags.map((of) => OVERLAY_OF[of]!),
          ),
          undefined,
          'overlay',
        );
      }
      // While it goes on, and after it, what was dirty stays dirty.
      const asked = since[random(since.length)]!;
      const mayTurnClean = untouchedHoles(putsOf(ebs, asked), basePuts, staged);
      let committed: string | undefined;
      const commit = fork.commit().then(({ snapshotId }) => (committed = snapshotId));
      while (committed === undefined) {
        const flags = await flagsBySector(served, `qemu:dirty-bitmap:${asked}`, random);
        const lost = wanted
          .get(asked)!
          .findIndex((of, sector) => of !== 0 && flags[sector] !== 1 && !mayTurnClean.has(blockOf(sector)));
        if (lost >= 0) t.fail(`sector ${lost} was dirty before the commit, and is clean during it`);
        await place.clock.advance(100);
      }
      await commit;
      basePuts = putsOf(ebs, committed);
      staged.fill(0);
    }
    await served.device.close?.();
    const late = served.device.metaContexts?.get(`ebs:changed:${root}`)?.extents(0, 512, { extentsMax: 1 });
    await t.rejects(
      Promise.resolve(late),
      DeviceError,
      'a question that comes late is not answered with clean',
    );
  }
});

t.test('unrelated snapshots do not open, and leave the fork free; one bitmap means one', async (t) => {
  const ebs = new FakeEbs();
  const place = { ebs, clock: new ManualClock(), stateDir: join(workFolder(t), 'state') };
  const [root, other] = [addSnapshot(ebs, [0]), addSnapshot(ebs, [0])];
  ebs.before = (operation) => {
    if (operation === EbsOperation.ListChangedBlocks) throw fail(EbsErrorKind.UnrelatedSnapshots);
  };
  await t.rejects(open(place, root, [other]), { message: /unrelated/ });
  t.strictSame(
    readdirSync(join(place.stateDir, 'forks')),
    [],
    'nothing is left of a fork that was made for it',
  );
  ebs.before = (operation) => {
    if (operation === EbsOperation.ListSnapshotBlocks) throw fail(EbsErrorKind.NotFound);
  };
  await t.rejects(open(place, root, []), { message: /not-found/ });
  t.strictSame(readdirSync(join(place.stateDir, 'forks')), [], 'nor where the snapshot cannot be read');
  ebs.before = () => undefined;
  const written = await open(place, root, []);
  await written.device.write?.(0, Buffer.alloc(SECTOR_BYTES, 1));
  await written.device.flush?.();
  await written.device.close?.();
  ebs.before = (operation) => {
    if (operation === EbsOperation.ListChangedBlocks) throw fail(EbsErrorKind.UnrelatedSnapshots);
  };
  await t.rejects(open(place, root, [other]), { message: /unrelated/ });
  ebs.before = () => undefined;
  const served = await open(place, root, [root, other], true);
  t.ok(
    (await flagsBySector(served, `ebs:changed:${root}`, (below) => below - 1))[0],
    'what was staged before stays',
  );
  t.strictSame(
    [...(served.device.metaContexts?.keys() ?? [])],
    [
      ...[`qemu:dirty-bitmap:${root}`, `ebs:changed:${root}`, `ebs:overlay:${root}`],
      ...[`ebs:changed:${other}`, `ebs:overlay:${other}`],
    ],
  );
  await served.device.close?.();
});
