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
