import t from 'tap';
import { UsageError } from '../../src/util/errors.js';
import { formatBytes, parseDurationMs, parseSizeBytes } from '../../src/util/units.js';

t.test('sizes', async (t) => {
  const table: readonly [string, number][] = [
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['4k', 4096],
    ['4KiB', 4096],
    ['1.5 MiB', 1_572_864],
    ['20GiB', 20 * 2 ** 30],
    ['20gb', 20e9],
    ['64TiB', 2 ** 46],
    [' 1T ', 2 ** 40],
  ];
  for (const [text, bytes] of table) t.equal(parseSizeBytes(text), bytes, text);
  for (const text of ['', 'x', '-1', '1 PiB', '1e3', '0.3', '9007199254740993', '1GiB2', '0x10']) {
    t.throws(() => parseSizeBytes(text), UsageError, JSON.stringify(text));
  }
});

t.test('durations', async (t) => {
  const table: readonly [string, number][] = [
    ['250ms', 250],
    ['30', 30_000],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
  ];
  for (const [text, ms] of table) t.equal(parseDurationMs(text), ms, text);
  for (const text of ['', 's', '-1s', '1w', '1s2'])
    t.throws(() => parseDurationMs(text), UsageError, JSON.stringify(text));
});

t.test('sizes for people', async (t) => {
  t.equal(formatBytes(0), '0 B');
  t.equal(formatBytes(512 * 1024), '512 KiB');
  t.equal(formatBytes(1.5 * 2 ** 30), '1.5 GiB');
  t.equal(formatBytes(2 ** 46), '64 TiB');
  t.equal(formatBytes(2 ** 60), '1024 PiB');
});
