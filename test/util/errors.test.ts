import t from 'tap';
import { AssertionError, assert, unreachable } from '../../src/util/assert.js';
import { messageOf, systemCodeOf } from '../../src/util/errors.js';
import { silentLogger } from '../../src/util/logger.js';

t.test('messages are one line, whatever was thrown', async (t) => {
  t.equal(messageOf(new Error('a\n  b\r\nc ')), 'a b c');
  t.equal(messageOf(new TypeError()), 'TypeError');
  t.equal(messageOf('text'), 'text');
  t.equal(messageOf(undefined), 'undefined');
});

t.test('system codes', async (t) => {
  t.equal(systemCodeOf(Object.assign(new Error('x'), { code: 'ENOSPC' })), 'ENOSPC');
  t.equal(systemCodeOf(Object.assign(new Error('x'), { code: 7 })), undefined);
  t.equal(systemCodeOf(new Error('x')), undefined);
  t.equal(systemCodeOf({ code: 'ENOSPC' }), undefined);
});

t.test('assertions', async (t) => {
  assert(true, 'holds');
  t.throws(() => assert(false, 'broken'), new AssertionError('broken'));
  t.throws(() => unreachable('x' as never), new AssertionError('unreachable: x'));
});

t.test('the silent logger says nothing and has itself as its child', async (t) => {
  const child = silentLogger.child({ a: 1 });
  child.debug('x');
  child.info('x');
  child.warn('x');
  child.error('x', { b: 2 });
  t.equal(child, silentLogger);
});
