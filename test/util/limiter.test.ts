import t from 'tap';
import { Lane, Limiter } from '../../src/util/limiter.js';

/** A task that ends when it is told to, and writes down when it began. */
function heldTask(name: string, begun: string[]): { task: () => Promise<string>; finish: () => void } {
  let finish = (): void => undefined;
  const ended = new Promise<void>((resolve) => (finish = resolve));
  const task = async (): Promise<string> => {
    begun.push(name);
    await ended;
    return name;
  };
  return { task, finish };
}

t.test('at most the bound at once, demand before prefetch, first in first out', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  const held = ['a', 'p1', 'p2', 'd1', 'd2'].map((name) => heldTask(name, begun));
  const lanes = [Lane.Demand, Lane.Prefetch, Lane.Prefetch, Lane.Demand, Lane.Demand];
  const results = held.map(({ task }, index) => limiter.run(task, lanes[index]));
  t.equal(limiter.inFlightCount, 1);
  t.equal(limiter.waitingCount, 4);
  held.forEach(({ finish }) => finish());
  t.strictSame(await Promise.all(results), ['a', 'p1', 'p2', 'd1', 'd2']);
  t.strictSame(begun, ['a', 'd1', 'd2', 'p1', 'p2']);
  await limiter.idle();
});

t.test('raising the bound starts what waits', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  const [first, second] = [heldTask('a', begun), heldTask('b', begun)];
  const results = [limiter.run(first.task), limiter.run(second.task)];
  t.strictSame(begun, ['a']);
  limiter.inFlightMax = 2;
  await Promise.resolve();
  t.strictSame(begun, ['a', 'b']);
  t.equal(limiter.inFlightMax, 2);
  first.finish();
  second.finish();
  await Promise.all(results);
});

t.test('a task that waits is taken out by its signal; a failure is its own alone', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  const first = heldTask('a', begun);
  const running = limiter.run(first.task);
  const controller = new AbortController();
  const waiting = limiter.run(heldTask('b', begun).task, Lane.Demand, controller.signal);
  controller.abort(new Error('gone'));
  await t.rejects(waiting, { message: 'gone' });
  const failing = limiter.run(() => Promise.reject(new Error('bad')));
  first.finish();
  await running;
  await t.rejects(failing, { message: 'bad' });
  t.strictSame(begun, ['a']);
  t.equal(await limiter.run(() => Promise.resolve(7)), 7, 'the limiter goes on');
});

t.test('a task that runs keeps its place when its signal aborts', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  const first = heldTask('a', begun);
  const controller = new AbortController();
  const running = limiter.run(first.task, Lane.Demand, controller.signal);
  const next = limiter.run(() => Promise.resolve('b'));
  await Promise.resolve();
  controller.abort(new Error('gone'));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(limiter.inFlightCount, 1);
  t.equal(limiter.waitingCount, 1);
  first.finish();
  t.equal(await running, 'a', 'the task itself says how it ended');
  t.equal(await next, 'b');
  await t.rejects(limiter.run(first.task, Lane.Demand, controller.signal), { message: 'gone' });
});

t.test('what is taken out leaves nothing behind', async (t) => {
  const limiter = new Limiter(1);
  const first = heldTask('a', []);
  const running = limiter.run(first.task);
  const controller = new AbortController();
  const waiting = Array.from({ length: 100 }, () =>
    limiter.run(() => Promise.resolve(), Lane.Prefetch, controller.signal),
  );
  const gone = waiting.map((promise) => t.rejects(promise, { message: 'gone' }));
  await Promise.resolve();
  t.equal(limiter.waitingCount, 100);
  controller.abort(new Error('gone'));
  t.equal(limiter.waitingCount, 0);
  await Promise.all(gone);
  first.finish();
  await running;
});

t.test('who lends a place lets another run meanwhile', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  const first = heldTask('a', begun);
  const second = heldTask('b', begun);
  const third = heldTask('c', begun);
  const slow = limiter.runIn('slow', first.task);
  const others = [second, third].map(({ task }) => limiter.runIn('fast', task));
  limiter.lend('slow')();
  limiter.lend('unknown');
  await new Promise(setImmediate);
  t.strictSame(begun, ['a'], 'nobody lends without a bound, so that not all others of the group come in');
  limiter.boundGroup('slow', 1);
  const takeBack = limiter.lend('slow');
  limiter.lend('slow')();
  await new Promise(setImmediate);
  t.strictSame(begun, ['a', 'b'], 'nor more than it has');
  t.equal(limiter.inFlightCount, 1, 'the one that lent does not count');
  t.equal(limiter.inFlightMax, 1);
  limiter.inFlightMax = 1;
  takeBack();
  second.finish();
  await others[0];
  await new Promise(setImmediate);
  t.strictSame(begun, ['a', 'b'], 'the place has been taken back');
  first.finish();
  await slow;
  third.finish();
  await Promise.all(others);
});

t.test('a group with a bound leaves places to others, also for tasks that waited before', async (t) => {
  const limiter = new Limiter(2);
  const begun: string[] = [];
  const held = ['s1', 's2', 's3', 's4', 'f1', 'f2'].map((name) => heldTask(name, begun));
  const results = held.slice(0, 4).map(({ task }) => limiter.runIn('slow', task));
  t.strictSame(begun, ['s1', 's2'], 'without a bound');
  limiter.boundGroup('slow', 1);
  const others = held.slice(4).map(({ task }) => limiter.runIn('fast', task));
  held[0]?.finish();
  await results[0];
  held[1]?.finish();
  await results[1];
  await new Promise(setImmediate);
  t.strictSame(begun, ['s1', 's2', 'f1', 'f2'], 'before the third of the slow group');
  t.equal(limiter.waitingCount, 2);
  held[4]?.finish();
  await others[0];
  await new Promise(setImmediate);
  t.strictSame(begun.slice(4), ['s3']);
  held[5]?.finish();
  await others[1];
  await new Promise(setImmediate);
  t.equal(begun.length, 5, 'one at a time of the slow group');
  limiter.boundGroup('slow', Number.POSITIVE_INFINITY);
  for (const { finish } of held) finish();
  await Promise.all([...results, ...others]);
  t.equal(begun.length, 6);
  t.equal(limiter.waitingCount, 0);
});

t.test('a task of a group with a bound is taken out by its signal, demand goes first', async (t) => {
  const limiter = new Limiter(4);
  const begun: string[] = [];
  limiter.boundGroup('g', 1);
  const held = ['a', 'p', 'gone', 'd'].map((name) => heldTask(name, begun));
  const controller = new AbortController();
  const lanes = [Lane.Demand, Lane.Prefetch, Lane.Demand, Lane.Demand];
  const results = held.map(({ task }, index) =>
    limiter.runIn('g', task, lanes[index], index === 2 ? controller.signal : undefined),
  );
  controller.abort(new Error('enough'));
  await t.rejects(Promise.all(results), { message: 'enough' });
  for (const { finish } of held) finish();
  await Promise.all(results.filter((_, index) => index !== 2));
  t.strictSame(begun, ['a', 'd', 'p']);
});

t.test(
  'prefetch of a group that is given up while it waits for a place among all leaves nothing behind',
  async (t) => {
    const limiter = new Limiter(1);
    const begun: string[] = [];
    limiter.boundGroup('slow', 1);
    const other = heldTask('other', begun);
    const running = limiter.runIn('other', other.task);
    const controller = new AbortController();
    const given = limiter.runIn('slow', heldTask('gone', begun).task, Lane.Prefetch, controller.signal);
    await Promise.resolve();
    controller.abort(new Error('gone'));
    const demand = limiter.runIn('slow', () => Promise.resolve('d'));
    await t.rejects(given, { message: 'gone' });
    other.finish();
    t.equal(await demand, 'd');
    await running;
    t.strictSame(begun, ['other']);
  },
);

t.test('demand takes the prefetch along that it waits for', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  limiter.boundGroup('slow', 1);
  const held = ['o1', 'o2', 'p', 'd', 'o3', 'o4'].map((name) => heldTask(name, begun));
  const results = held.map(({ task }, index) =>
    limiter.runIn(
      index === 2 || index === 3 ? 'slow' : 'others',
      task,
      index === 2 ? Lane.Prefetch : Lane.Demand,
    ),
  );
  for (const { finish } of held.slice(0, 5)) finish();
  await Promise.all(results.slice(0, 3));
  t.strictSame(begun.slice(0, 3), ['o1', 'o2', 'p']);
  held[5]?.finish();
  await Promise.all(results);
  t.strictSame(begun, ['o1', 'o2', 'p', 'o3', 'o4', 'd']);
});

t.test('a bound that is taken away and made anew holds for what waited before', async (t) => {
  const limiter = new Limiter(1);
  const begun: string[] = [];
  limiter.boundGroup('slow', 1);
  const held = ['other', 's1', 's2', 's3'].map((name) => heldTask(name, begun));
  const results = held.map(({ task }, index) => limiter.runIn(index === 0 ? 'other' : 'slow', task));
  limiter.boundGroup('slow', Number.POSITIVE_INFINITY);
  await new Promise(setImmediate);
  limiter.boundGroup('slow', 1);
  limiter.inFlightMax = 4;
  await new Promise(setImmediate);
  t.strictSame(begun, ['other', 's1']);
  t.equal(limiter.waitingCount, 2);
  for (const { finish } of held) finish();
  await limiter.idle();
  t.strictSame(begun, ['other', 's1', 's2', 's3'], 'idle after what waited in a group as well');
  await Promise.all(results);
});
