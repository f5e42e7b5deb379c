import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseConfig, readConfigFile, type ConfigField } from '../../src/app/config/config-file.js';
import { EnvironmentError, UsageError } from '../../src/util/errors.js';
import { suggest } from '../../src/util/suggest.js';
import { workFolder } from '../fixtures/work-folder.js';

const FIELDS: readonly ConfigField[] = [
  { name: 'cache-size', kind: 'text' },
  { name: 'unix-mode', kind: 'text' },
  { name: 'read-ahead', kind: 'text', choices: ['on', 'off'] },
  { name: 'hydrate', kind: 'flag' },
  { name: 'listen', kind: 'list' },
  { name: 'tag', kind: 'list' },
];

const parse = (text: string): ReturnType<typeof parseConfig> => parseConfig(text, 'f.yaml', FIELDS);

t.test('values are the texts that they are on the command line', async (t) => {
  const { exports, options } = parse(`
exports: [snap-0123456789abcdef0, "b=memory:1MiB"]
cache-size: 20GiB
unix-mode: 0660   # not a number
read-ahead: off
hydrate: true
listen: 127.0.0.1:0
tag: {Name: "a=b", n: 1e3}
`);
  t.strictSame(exports, ['snap-0123456789abcdef0', 'b=memory:1MiB']);
  t.strictSame(Object.fromEntries(options), {
    'cache-size': '20GiB',
    'unix-mode': '0660',
    'read-ahead': 'off',
    hydrate: true,
    listen: ['127.0.0.1:0'],
    tag: ['Name=a=b', 'n=1e3'],
  });
  t.strictSame(parse('exports: {root: snap-1, x: "memory:1MiB"}').exports, ['root=snap-1', 'x=memory:1MiB']);
  for (const empty of ['', '# nothing\n', '---\n'])
    t.strictSame(parse(empty), { exports: undefined, options: new Map() });
});

t.test('what is wrong is said in one line, with its place and what is allowed', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['chache-size: 1', /^Cannot use f\.yaml: "chache-size" is not known \(did you mean cache-size\?\)\.$/],
    ['cacheSize: 1', /did you mean cache-size/],
    ['zebra: 1', /"zebra" is not known \(the keys are exports and the names of the options of serve\)/],
    ['__proto__: 1', /"__proto__" is not known/],
    ['read-ahead: maybe', /read-ahead has to be one of on, off\.$/],
    ['hydrate: yes', /hydrate has to be true or false\.$/],
    ['cache-size: [1, 2]', /cache-size has to be one value\.$/],
    ['listen: {a: {b: c}}', /listen has to be a value, a list of values, or KEY: VALUE pairs/],
    ['exports: []', /exports has to be a list of EXPORTs, or NAME: SOURCE pairs/],
    ['exports: 5', /exports has to be/],
    ['- a', /it has to hold KEY: VALUE pairs/],
    ['a: 1\na: 2', /not YAML: Map keys must be unique at line 2/],
    ['a: [', /not YAML/],
    ['a: *b', /aliases|not YAML/],
    [
      'x: &a [k,k,k,k,k,k,k,k,k]\n' +
        'bcdefgh'
          .split('')
          .map((k, i) => `${k}: &${k} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`)
          .join('\n'),
      /f\.yaml/,
    ],
    ['a: 1\nb: 2\nc: 3\nd: 4', /; and 1 more\.$/],
  ];
  for (const [text, expected] of cases) {
    let message = '';
    try {
      parse(text);
    } catch (error) {
      t.ok(error instanceof UsageError, text);
      ({ message } = error as Error);
    }
    t.match(message, expected, text.slice(0, 40));
    t.notMatch(message, /\n/);
  }
});

t.test('files that cannot be read', async (t) => {
  const dir = workFolder(t);
  await t.rejects(readConfigFile(join(dir, 'none'), FIELDS), EnvironmentError);
  await t.rejects(readConfigFile(dir, FIELDS), EnvironmentError);
  const large = join(dir, 'large');
  writeFileSync(large, '#'.repeat(2 ** 20 + 1));
  await t.rejects(readConfigFile(large, FIELDS), { message: /longer than/ });
});

t.test('suggestions are for slips of the pen', async (t) => {
  t.equal(suggest('max_conections', ['max-connections', 'max-cost']), 'max-connections');
  t.equal(suggest('zz', ['aa']), undefined);
  t.equal(suggest('x'.repeat(65), ['x'.repeat(64)]), undefined);
});
