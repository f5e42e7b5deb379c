// What is made from the commands: the references, the manual page, and the completions, the latter by bash itself.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { modelOf } from '../../src/cli/command-model.js';
import { bashCompletion, fishCompletion, zshCompletion } from '../../src/cli/completion-scripts.js';
import { createProgram } from '../../src/cli/program.js';
import { referenceFiles } from '../../src/cli/reference-files.js';
import { needsPrograms } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

const ROOT = join(import.meta.dirname, '../..');

t.test('the references and the manual page are those of the commands', async (t) => {
  for (const [path, text] of referenceFiles()) {
    t.ok(readFileSync(join(ROOT, path), 'utf8') === text, `${path} is stale: run scripts/cli-reference`);
  }
});

t.test('bash completes commands, options and values', { ...needsPrograms('bash') }, async (t) => {
  const script = join(workFolder(t), 'completion.bash');
  writeFileSync(script, bashCompletion(modelOf(createProgram())));
  const tries = [
    ['snapnbd', 'ser'],
    ['snapnbd', 'emulator', 'imp'],
    ['snapnbd', 'serve', '--tls', ''],
    ['snapnbd', 'serve', '--region', ''],
    ['snapnbd', 'emulator', 'import', '--par'],
    ['snapnbd', 'completion', '--h'],
    ['snapnbd', 'serve', '--cache-dir', `${workFolder(t)}/none`],
  ];
  const lines = tries.map(
    (words) =>
      `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length - 1}; _snapnbd; echo "\${COMPREPLY[*]}"`,
  );
  const output = await mustRun('bash', [
    '--norc',
    '-c',
    `set -u; COMPREPLY=(); source ${script}\n${lines.join('\n')}`,
  ]);
  t.strictSame(output.split('\n'), ['serve', 'import', 'off on require', '', '--parent', '--help', '', '']);
});

t.test('every command and option is in all three', async (t) => {
  const model = modelOf(createProgram());
  const scripts = [bashCompletion(model), zshCompletion(model), fishCompletion(model)];
  const words = model.children.flatMap(({ path, options }) => [
    path.split(' ')[1]!,
    ...options.map(({ long }) => long.replace(/^--/, '')),
  ]);
  for (const script of scripts)
    t.strictSame(
      words.filter((word) => !script.includes(word)),
      [],
    );
});
