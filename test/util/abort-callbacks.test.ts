import { getEventListeners } from 'node:events';
import t from 'tap';
import { onAbort } from '../../src/util/abort-callbacks.js';

t.test('calls everybody once, in order, and those who left not at all', async (t) => {
  const controller = new AbortController();
  const called: string[] = [];
  const add = (name: string): (() => void) => onAbort(controller.signal, () => called.push(name));
  add('a');
  const leave = add('b');
  add('c');
  leave();
  leave();
  controller.abort();
  controller.abort();
  t.strictSame(called, ['a', 'c']);
});

t.test('has one listener, however many there are', async (t) => {
  const { signal } = new AbortController();
  const leaving = Array.from({ length: 1000 }, () => onAbort(signal, () => undefined));
  t.equal(getEventListeners(signal, 'abort').length, 1);
  for (const leave of leaving) leave();
  onAbort(signal, () => undefined);
  t.equal(getEventListeners(signal, 'abort').length, 1);
});

t.test('a callback may come twice, and may take another away', async (t) => {
  const controller = new AbortController();
  let count = 0;
  const callback = (): void => void (count += 1);
  onAbort(controller.signal, callback);
  onAbort(controller.signal, callback);
  onAbort(controller.signal, () => leave());
  const leave = onAbort(controller.signal, () => t.fail('it had left'));
  controller.abort();
  t.equal(count, 2);
});

t.test('one that has aborted calls at once; no signal never does', async (t) => {
  let count = 0;
  onAbort(AbortSignal.abort(), () => void (count += 1))();
  t.equal(count, 1);
  onAbort(undefined, () => void (count += 1))();
  t.equal(count, 1);
});
