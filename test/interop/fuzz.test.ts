// That it passes on the server as it is, continuous integration sees, which runs it for a minute.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compiledMain } from '../fixtures/compiled.js';
import { PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { type Outcome, runProgram } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const fuzz = (...args: readonly string[]): Promise<Outcome> =>
  runProgram(join(import.meta.dirname, '../../scripts/fuzz'), args, { env: { NODE_OPTIONS: '' } });

t.test('scripts/fuzz tells what is wrong, and how to make it again', async (t) => {
  const main = join(workFolder(t), 'main.mjs');
  // A server that dies of a defect once it has seen some clients off.
  const defect = `
    let count = 0;
    const destroy = net.Socket.prototype._destroy;
    net.Socket.prototype._destroy = function (...args) {
      count += 1;
      if (process.argv[2] === 'serve' && count > 20) setImmediate(() => { throw new Error('a defect'); });
      return destroy.apply(this, args);
    };`;
  const rest = `await import(${JSON.stringify(compiledMain())});`;
  writeFileSync(main, `import net from 'node:net';\n${defect}\n${rest}\n`);
  const outcome = await fuzz('--seconds', '60', '--seed', '7', '--snapnbd', main);
  t.equal(outcome.status, 1, 'it was found', { stdout: outcome.stdout });
  t.match(outcome.stderr, /the server has ended|ECONNREFUSED|hung up/);
  t.match(outcome.stderr, /\(seed 7; under way or just over: \d/);
  const mistake = 'fuzz: cannot use "x" for --seconds: a whole number is meant\n';
  t.match(await fuzz('--seconds', 'x'), { status: 1, stderr: mistake });
});
