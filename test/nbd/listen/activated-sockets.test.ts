import t from 'tap';
import { activatedSockets } from '../../../src/nbd/listen/activated-sockets.js';
import { EnvironmentError } from '../../../src/util/errors.js';

t.test('takes the sockets that are meant for this process', async (t) => {
  t.equal(activatedSockets({}, 7), undefined);
  t.equal(activatedSockets({ LISTEN_FDS: '1', LISTEN_PID: '8' }, 7), undefined, 'they are for another one');
  t.equal(activatedSockets({ LISTEN_FDS: '1' }, 7), undefined);
  t.strictSame(activatedSockets({ LISTEN_FDS: '1', LISTEN_PID: '7' }, 7), [{ fd: 3, name: 'unknown' }]);
  t.strictSame(activatedSockets({ LISTEN_FDS: '2', LISTEN_PID: '7', LISTEN_FDNAMES: 'a:' }, 7), [
    { fd: 3, name: 'a' },
    { fd: 4, name: '' },
  ]);
});

t.test('refuses what contradicts itself', async (t) => {
  for (const LISTEN_FDS of ['0', '-1', 'x', '1.5', '257', '99999']) {
    t.throws(() => activatedSockets({ LISTEN_FDS, LISTEN_PID: '7' }, 7), EnvironmentError, LISTEN_FDS);
  }
  const names = { LISTEN_FDS: '2', LISTEN_PID: '7', LISTEN_FDNAMES: 'one' };
  t.throws(() => activatedSockets(names, 7), /LISTEN_FDNAMES names 1/);
});
