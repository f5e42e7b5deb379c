// The examples run as their readers would run them: against the published shape of the package.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { compiledMain } from './fixtures/compiled.js';
import { needsPrograms } from './fixtures/programs.js';
import { mustRun } from './fixtures/run-program.js';
import { workFolder } from './fixtures/work-folder.js';

const EXAMPLES = join(import.meta.dirname, '../examples');

/** Compiles an example to where `import ... from 'snapnbd'` finds the compiled package. */
function compileExample(name: string): string {
  const source = readFileSync(join(EXAMPLES, `${name}.ts`), 'utf8');
  const compilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
  const path = join(compiledMain(), '../../..', `${name}-${process.pid}.mjs`);
  writeFileSync(path, ts.transpileModule(source, { compilerOptions }).outputText);
  return path;
}

t.test('a device of one’s own, in fifteen lines', needsPrograms('nbdcopy'), async (t) => {
  const lines = readFileSync(join(EXAMPLES, 'serve-a-device.ts'), 'utf8').trim().split('\n');
  t.ok(lines.length <= 15, `${lines.length} lines`);

  const child = spawn(process.execPath, [compileExample('serve-a-device'), '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const uri = line.toString().trim();
  t.match(uri, /^nbd:\/\/127\.0\.0\.1:\d+\/pattern$/);

  const copy = join(workFolder(t), 'copy');
  await mustRun('nbdcopy', [uri, copy]);
  t.ok(
    readFileSync(copy).equals(Buffer.from(Uint8Array.from({ length: 1024 * 1024 }, (_, index) => index))),
    'every byte is the low byte of its offset',
  );

  child.kill('SIGTERM');
  const [status] = (await once(child, 'exit')) as [number];
  t.equal(status, 0, 'drains and ends by itself');
});
