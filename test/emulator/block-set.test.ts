import t from 'tap';
import { BlockSet, BlockSetBudget } from '../../src/emulator/block-set.js';

t.test('counts members once, anywhere on a volume', async (t) => {
  const set = new BlockSet(new BlockSetBudget(1024 * 1024));
  for (const index of [0, 7, 8, 2047, 2048, 134_217_727, 0, 134_217_727]) set.add(index);
  t.equal(set.size, 6);
});

t.test('says so when there is no room to count', async (t) => {
  const budget = new BlockSetBudget(512);
  const [one, other] = [new BlockSet(budget), new BlockSet(budget)];
  one.add(1);
  other.add(1);
  one.add(2);
  t.equal(one.size, 2);
  other.add(5000);
  t.equal(other.size, null);
  t.equal(one.size, 2, 'the others are still exact');
});
