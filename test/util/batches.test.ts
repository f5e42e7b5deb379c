import t from 'tap';
import { Batches } from '../../src/util/batches.js';

t.test('what comes together is done together, in order and in parts', async (t) => {
  const sizes: number[] = [];
  const batches = new Batches<number, number>((items) => {
    sizes.push(items.length);
    return Promise.resolve(items.map((item) => item * 2));
  }, 3);
  const results = await Promise.all([1, 2, 3, 4].map((item) => batches.add(item)));
  t.strictSame(results, [2, 4, 6, 8]);
  t.strictSame(sizes, [3, 1]);
  t.equal(await batches.add(5), 10, 'later, alone');
});

t.test('one that fails does not spoil the others', async (t) => {
  const batches = new Batches<number, number>(
    (items) => (items.includes(2) ? Promise.reject(new Error('two')) : Promise.resolve(items)),
    10,
  );
  const outcomes = await Promise.allSettled([1, 2, 3].map((item) => batches.add(item)));
  t.match(outcomes, [{ value: 1 }, { reason: { message: 'two' } }, { value: 3 }]);
});
