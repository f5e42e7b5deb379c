import t from 'tap';
import { SectorMap } from '../../src/writer/sector-map.js';
import { isZeroState, SECTORS_PER_BLOCK, SectorState } from '../../src/writer/sector-state.js';
import { TIB } from '../../src/util/units.js';
import { freshSeed, seededNumbers } from '../fixtures/seeded.js';

const BLOCKS = 6;
const SECTORS = BLOCKS * SECTORS_PER_BLOCK;

function checkAgainst(map: SectorMap, model: Uint8Array): string | undefined {
  for (let at = 0; at < SECTORS;) {
    const run = map.runAt(at, SECTORS);
    if (run.end <= at) return `an empty run at ${at}`;
    for (let sector = at; sector < run.end; sector += 1) {
      const state = model[sector]!;
      if ((isZeroState(state) ? SectorState.Zero : state) !== run.state)
        return `sector ${sector} is not ${run.state}`;
    }
    at = run.end;
  }
  let pages = 0;
  for (let page = 0; page < SECTORS / 8; page += 1) {
    if (model.subarray(page * 8, page * 8 + 8).some((state) => (state & 1) === 1)) pages += 1;
  }
  if (map.allocatedPageCount !== pages) return `${map.allocatedPageCount} pages rather than ${pages}`;
  if (map.unallocatedPageCount(0, SECTORS) !== SECTORS / 8 - pages)
    return 'another number of pages to allocate';
  return undefined;
}

function copyOf(map: SectorMap): SectorMap {
  const copy = new SectorMap(SECTORS);
  for (const { startBlock, endBlock, state } of map.blockRuns()) {
    if (state === undefined) copy.restoreDetail(startBlock, map.detailOf(startBlock));
    else copy.restoreRun(startBlock, endBlock, state);
  }
  return copy;
}

t.test('says what a model of single sectors says', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  let map = new SectorMap(SECTORS);
  const model = new Uint8Array(SECTORS);
  let wrong: string | undefined;
  for (let round = 0; round < 1500 && wrong === undefined; round += 1) {
    const grain = [1, 8, SECTORS_PER_BLOCK][random(3)]!;
    const start = random(SECTORS / grain) * grain;
    const count = Math.min(SECTORS - start, (1 + random(grain === 1 ? 3000 : 12)) * grain);
    if (random(2) === 0) {
      map.write(start, count);
      model.fill(SectorState.Data, start, start + count);
    } else {
      map.clear(start, count);
      for (let sector = start; sector < start + count; sector += 1) {
        model[sector] = (model[sector]! & 1) | SectorState.Zero;
      }
    }
    if (random(50) === 0) map = copyOf(map);
    wrong = checkAgainst(map, model);
  }
  t.equal(wrong, undefined);
});

t.test('begins and ends runs where it is asked to', async (t) => {
  const map = new SectorMap(SECTORS);
  map.write(5, 10);
  t.strictSame(map.runAt(7, 12), { state: SectorState.Data, end: 12 });
  t.strictSame(map.runAt(0, 5), { state: SectorState.Through, end: 5 });
  t.strictSame(map.runAt(15, SECTORS), { state: SectorState.Through, end: SECTORS });
  t.ok(map.isAllData(5, 10));
  t.notOk(map.isAllData(4, 10));
});

t.test('stays small on a disk of 64 TiB', async (t) => {
  const sectorCount = (64 * TIB) / 512;
  const map = new SectorMap(sectorCount);
  map.clear(0, sectorCount);
  t.ok(map.memoryBytes < 2 ** 20, 'all of it zeroed');
  t.strictSame(map.runAt(12345, sectorCount), { state: SectorState.Zero, end: sectorCount });
  map.write(TIB / 512, TIB / 512);
  t.ok(map.memoryBytes < 2 ** 21, 'a TiB of data');
  for (let block = 0; block < 4096; block += 1) map.write(block * SECTORS_PER_BLOCK + 8, 8);
  t.ok(map.memoryBytes < 2 ** 21, 'a page in each of 4096 blocks');
  t.strictSame([...map.blockRuns(4095)].length, 4);
});
