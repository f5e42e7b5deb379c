import t from 'tap';
import {
  formatListenAddress,
  formatNbdUri,
  parseListenAddress,
} from '../../../src/nbd/listen/listen-address.js';
import { UsageError } from '../../../src/util/errors.js';

t.test('reads what people write, and writes it again', async (t) => {
  const rows = [
    ['127.0.0.1:10809', { kind: 'tcp', host: '127.0.0.1', port: 10_809 }],
    ['localhost:0', { kind: 'tcp', host: 'localhost', port: 0 }],
    ['[::1]:65535', { kind: 'tcp', host: '::1', port: 65_535 }],
    ['0.0.0.0:1', { kind: 'tcp', host: '0.0.0.0', port: 1 }],
    ['unix:/run/nbd.sock', { kind: 'unix', path: '/run/nbd.sock' }],
  ] as const;
  for (const [text, address] of rows) {
    t.strictSame(parseListenAddress(text), address);
    t.equal(formatListenAddress(address), text);
  }
  t.strictSame(parseListenAddress('[fe80::1%eth0]:5'), { kind: 'tcp', host: 'fe80::1%eth0', port: 5 });
  t.match(
    parseListenAddress('unix:here.sock'),
    { path: `${process.cwd()}/here.sock` },
    'paths become absolute',
  );
});

t.test('everything else is refused in one line', async (t) => {
  const bad = [
    '',
    '10809',
    '127.0.0.1',
    ':10809',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:1x',
    '::1:10809',
  ];
  const more = [
    '[::1]',
    '[::1:5',
    'unix:',
    `unix:/${'x'.repeat(107)}`,
    'unix:a\0b',
    'http://localhost:5',
    'a b:5',
  ];
  for (const text of [...bad, ...more]) {
    t.throws(() => parseListenAddress(text), UsageError, text);
    t.throws(() => parseListenAddress(text), /^Cannot listen on .*\.$/, text);
  }
});

t.test('writes URIs that clients understand', async (t) => {
  const tcp = { kind: 'tcp', host: '127.0.0.1', port: 10_809 } as const;
  t.equal(formatNbdUri(tcp, 'snap-0123'), 'nbd://127.0.0.1:10809/snap-0123');
  t.equal(formatNbdUri(tcp, 'a b/c?d#é%'), 'nbd://127.0.0.1:10809/a%20b%2Fc%3Fd%23%C3%A9%25');
  t.equal(formatNbdUri(tcp, '', { isTls: true }), 'nbds://127.0.0.1:10809/');
  t.equal(formatNbdUri({ ...tcp, host: '::1' }, 'x'), 'nbd://[::1]:10809/x');
  t.equal(formatNbdUri({ ...tcp, host: 'fe80::1%eth0' }, 'x'), 'nbd://[fe80::1%25eth0]:10809/x');
  const unix = { kind: 'unix', path: '/run/my disks/a&b.sock' } as const;
  t.equal(formatNbdUri(unix, 'x'), 'nbd+unix:///x?socket=/run/my%20disks/a%26b.sock');
  t.equal(formatNbdUri(unix, 'x', { isTls: true }), 'nbds+unix:///x?socket=/run/my%20disks/a%26b.sock');
});
