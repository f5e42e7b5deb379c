import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DEFAULT_NBD_LIMITS } from '../../src/nbd/limits.js';

t.test('docs/OPERATIONS.md has each limit with its default', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/OPERATIONS.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)`(?: \(`--[\w-]+`\))? \| (\d+) \| \S/gm)];
  t.strictSame(Object.fromEntries(rows.map((row) => [row[1], Number(row[2])])), DEFAULT_NBD_LIMITS);
});
