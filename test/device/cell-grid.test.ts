import t from 'tap';
import { CELLS_MAX, CellCounts, CellGrid } from '../../src/device/cell-grid.js';
import { seededNumbers } from '../fixtures/seeded.js';

t.test('counts are the same by cell, few or many', async (t) => {
  const upTo = seededNumbers('cell-grid');
  for (const blockCount of [1, 100, CELLS_MAX, 3 * CELLS_MAX + 5, 2 ** 27]) {
    const grid = new CellGrid(blockCount);
    const counts = new CellCounts(grid);
    const expected = grid.newCounts();
    for (let round = 0; round < 500; round += 1) {
      const start = upTo(blockCount);
      const end = Math.min(blockCount, start + 1 + upTo(round < 40 ? 1 : 3 * grid.blocksPerCell));
      counts.addRange(start, end);
      for (let cell = grid.cellOf(start); cell <= grid.cellOf(end - 1); cell += 1) {
        const first = Math.max(start, cell * grid.blocksPerCell);
        expected[cell]! += Math.min(end, (cell + 1) * grid.blocksPerCell) - first;
      }
      const cell = upTo(grid.cellCount);
      if (counts.at(cell) > 0) {
        counts.add(cell, -1);
        expected[cell]! -= 1;
      }
    }
    t.same(
      Array.from(expected, (_, cell) => counts.at(cell)),
      Array.from(expected),
      `${blockCount} blocks`,
    );
    t.equal(counts.at(grid.cellCount), 0);
  }
});
