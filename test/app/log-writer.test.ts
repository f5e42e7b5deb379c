import t from 'tap';
import { createLogWriter } from '../../src/app/log-writer.js';

const dateMs = (): number => Date.UTC(2026, 0, 2, 3, 4, 5, 6);

t.test('text: time, level, message, fields', async (t) => {
  const lines: string[] = [];
  const log = createLogWriter({ write: (line) => lines.push(line), dateMs });
  log.child({ export: 'root' }).info('opened', { bytes: 512, name: 'a b', gone: undefined, none: null });
  log.debug('not written');
  t.strictSame(lines, ['2026-01-02T03:04:05.006Z info  opened export=root bytes=512 name="a b" none=null\n']);
});

t.test('text: what a peer sent cannot forge a line or move the cursor', async (t) => {
  const lines: string[] = [];
  const log = createLogWriter({ write: (line) => lines.push(line), dateMs });
  log.warn('refused', { name: 'x\n2026 error \u001b[2J "quoted"\u009b\u2028' });
  t.equal(lines.length, 1);
  t.match(lines[0], /name="x\\n2026 error \\u001b\[2J \\"quoted\\"\\u009b\\u2028"\n$/);
});

t.test('json: one object a line', async (t) => {
  const lines: string[] = [];
  const log = createLogWriter({ write: (line) => lines.push(line), dateMs, format: 'json', level: 'debug' });
  log.debug('a', { n: 1 });
  log.error('b', { message: 'cannot hide the message', time: 'nor the time' });
  t.strictSame(
    lines.map((line) => JSON.parse(line)),
    [
      { n: 1, time: '2026-01-02T03:04:05.006Z', level: 'debug', message: 'a' },
      { message: 'b', time: '2026-01-02T03:04:05.006Z', level: 'error' },
    ],
  );
});
