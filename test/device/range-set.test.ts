import t from 'tap';
import { RangeSet } from '../../src/device/range-set.js';
import { freshSeed, seededNumbers } from '../fixtures/seeded.js';

/** The members below `limit`, found through the ranges alone. */
function members(set: RangeSet, limit: number): number[] {
  const found: number[] = [];
  let from = 0;
  for (let range = set.firstFrom(from); range !== undefined; range = set.firstFrom(from)) {
    for (let value = range.start; value < range.end; value += 1) found.push(value);
    from = range.end;
  }
  return found.filter((value) => value < limit);
}

t.test('is a set, whatever is added and taken out', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  const limit = 60;
  for (let round = 0; round < 100; round += 1) {
    const set = new RangeSet();
    const model = new Set<number>();
    for (let step = 0; step < 20; step += 1) {
      const start = random(limit);
      const end = start + random(limit - start + 1);
      const isAdded = random(2) === 0;
      if (isAdded) set.add(start, end);
      else set.remove(start, end);
      for (let value = start; value < end; value += 1) {
        if (isAdded) model.add(value);
        else model.delete(value);
      }
    }
    t.strictSame(
      members(set, limit),
      [...model].sort((a, b) => a - b),
    );
  }
});

t.test('keeps neighbours as one range', async (t) => {
  const set = new RangeSet();
  set.add(0, 5);
  set.add(5, 9);
  set.add(20, 30);
  t.equal(set.rangeCount, 2);
  t.strictSame(set.firstFrom(3), { start: 0, end: 9 });
  t.strictSame(set.firstFrom(9), { start: 20, end: 30 });
  t.equal(set.firstFrom(30), undefined);
  set.remove(22, 24);
  t.equal(set.rangeCount, 3);
});
