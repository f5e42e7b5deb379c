import t from 'tap';
import { isPromiseLike } from '../../src/util/promise-like.js';

t.test('knows what can be waited for', async (t) => {
  t.equal(isPromiseLike(Promise.resolve()), true);
  t.equal(isPromiseLike({ then: () => undefined }), true);
  for (const value of [undefined, null, 0, '', [], [Promise.resolve()], { then: true }, () => undefined]) {
    t.equal(isPromiseLike(value), false);
  }
});
