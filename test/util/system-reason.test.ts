import { readFileSync } from 'node:fs';
import t from 'tap';
import { systemReason } from '../../src/util/system-reason.js';

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

t.test('what the system says, in words', async (t) => {
  t.equal(systemReason(thrownBy(() => readFileSync('/no/such/file'))), 'no such file');
  t.equal(systemReason(thrownBy(() => readFileSync('/'))), 'it is a folder');
});

t.test('what it has no words for here, without the path', async (t) => {
  const tooLong = thrownBy(() => readFileSync(`/tmp/\x1b[31m, open '${'x'.repeat(300)}`));
  t.equal(systemReason(tooLong), 'ENAMETOOLONG: name too long');
});

t.test('anything else as it is', async (t) => {
  t.equal(systemReason(new Error('two\nlines')), 'two lines');
  t.equal(systemReason('text'), 'text');
  t.equal(systemReason(undefined), 'undefined');
  t.equal(
    systemReason(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })),
    'EIO: i/o error, read',
  );
});
