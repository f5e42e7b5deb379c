import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceFiles } from '../../src/cli/reference-files.js';

const ROOT = join(import.meta.dirname, '../..');
const stale: string[] = [];
for (const [path, text] of referenceFiles()) {
  const file = join(ROOT, path);
  if (!process.argv.includes('--check')) writeFileSync(file, text);
  else if (readFileSync(file, 'utf8') !== text) stale.push(path);
}
if (stale.length > 0) {
  process.stderr.write(`${stale.join(', ')} differ from the commands: run scripts/cli-reference.\n`);
  process.exitCode = 1;
}
