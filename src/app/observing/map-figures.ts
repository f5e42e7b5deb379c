import { CellCounts } from '../../device/cell-grid.js';
import { MapRuns } from '../../http/map-runs.js';
import type { MapFigures } from '../../http/status-document.js';
import type { SnapshotDevice } from '../../snapshot/snapshot-device.js';
import type { ForkMap } from '../../writer/fork-map.js';

/** Fetches that are shown: more than can be under way, and a bound where many wait. */
const FETCHING_SHOWN_MAX = 4096;

/** The picture of a disk: a snapshot's, with what a fork has over it. Undefined where there is neither. */
export function mapFiguresOf(
  snapshot: SnapshotDevice | undefined,
  fork: ForkMap | undefined,
): MapFigures | undefined {
  const grid = snapshot?.map.grid ?? fork?.grid;
  if (grid === undefined) return undefined;
  const fetching = new CellCounts(grid);
  let shownCount = 0;
  for (const block of snapshot?.fetchingBlocks() ?? []) {
    shownCount += 1;
    if (shownCount > FETCHING_SHOWN_MAX) break;
    fetching.add(grid.cellOf(block), 1);
  }
  const runs = new MapRuns();
  for (let cell = 0; cell < grid.cellCount; cell += 1) {
    const [letter, count] = stateOf(cell, fetching, snapshot, fork);
    runs.add(letter, count / grid.sizeOf(cell));
  }
  return { blocksPerCell: grid.blocksPerCell, cellCount: grid.cellCount, cells: runs.finish() };
}

/** The letter of a cell and how many of its blocks it stands for: what goes on there before what was there before. */
function stateOf(
  cell: number,
  fetching: CellCounts,
  snapshot: SnapshotDevice | undefined,
  fork: ForkMap | undefined,
): readonly [letter: string, count: number] {
  const at = (counts: CellCounts): number => counts.at(cell);
  if (at(fetching) > 0) return ['f', at(fetching)];
  const [staged, put] = [fork?.staged[cell] ?? 0, fork?.put[cell] ?? 0];
  if (staged > 0) return put >= staged ? ['p', put] : ['s', staged];
  // A blank disk has nothing beneath.
  if (snapshot === undefined) return ['h', fork?.grid.sizeOf(cell) ?? 1];
  const { map } = snapshot;
  const [inMemory, onDisk] = [at(map.inMemory), at(map.onDisk)];
  // A cell that is on disk stays so to the eye when a few of its blocks are read.
  if (inMemory > 0 && inMemory * 4 >= onDisk) return ['m', inMemory];
  if (onDisk > 0) return ['d', onDisk];
  if (at(map.read) > 0) return ['r', at(map.read)];
  if (at(map.listed) > 0) return ['n', at(map.listed)];
  const size = map.grid.sizeOf(cell);
  return [at(map.known) < size ? 'u' : 'h', size];
}
