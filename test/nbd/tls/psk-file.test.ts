import t from 'tap';
import { parsePskFile } from '../../../src/nbd/tls/psk-file.js';
import { EnvironmentError } from '../../../src/util/errors.js';

t.test('reads what psktool writes', async (t) => {
  const keys = parsePskFile('alice:00ff\nbob smith:ABCDEF\r\n\n', '/keys');
  t.strictSame(
    [...keys],
    [
      ['alice', Buffer.from([0, 0xff])],
      ['bob smith', Buffer.from([0xab, 0xcd, 0xef])],
    ],
  );
});

t.test('anything else is refused, with the line and without the key', async (t) => {
  for (const text of ['', '\n', 'alice', 'alice:', ':00', 'alice:0', 'alice:5ec7e7g', 'a:00\na:01']) {
    t.throws(() => parsePskFile(text, '/keys'), EnvironmentError, text);
  }
  t.throws(() => parsePskFile('a:00\nalice:5ec7e7g', '/keys'), {
    message: /\/keys: line 2 is not user:hexkey/,
  });
  t.throws(() => parsePskFile('alice:5ec7e7g', '/keys'), { message: /^((?!5ec7).)*$/ });
});
