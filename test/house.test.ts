// The table of folders in docs/ARCHITECTURE.md, held against the code: nothing imports upward, no cycles.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import ts from 'typescript';

const ROOT = join(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');

/** What each folder may import beside itself and `node:`. A name with a file is that file alone. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  util: [],
  device: ['util'],
  ebs: ['util'],
  ec2: ['ebs', 'util'],
  nbd: ['device', 'util'],
  snapshot: ['ebs', 'device', 'util'],
  writer: ['ebs', 'device', 'util'],
  transfer: ['writer', 'snapshot', 'ebs', 'device', 'util'],
  files: ['device', 'util'],
  mount: ['files', 'device', 'util'],
  http: ['files', 'picture', 'device', 'util'],
  picture: ['util'],
  emulator: ['ebs/constants.ts', 'ebs/checksum.ts', 'util'],
  app: [
    'http',
    'files',
    'mount',
    'picture',
    'transfer',
    'ec2',
    'emulator',
    'writer',
    'snapshot',
    'nbd',
    'ebs',
    'device',
    'util',
  ],
  cli: ['app', 'emulator', 'util'],
};

/** Files that the folders above the EBS side may not import, although they may import the folder. */
const CLIENT_ONLY = /^ebs\/(?:sdk|http)-/;
const CLIENT_USERS = new Set(['ebs', 'app']);

/** Packages, and the only folders that may import them. */
const PACKAGE_USERS: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk': ['ebs', 'ec2'],
  '@smithy': ['ebs'],
  'cli-progress': ['cli'],
  commander: ['cli'],
  'lru-cache': ['snapshot'],
  'p-queue': ['util'],
  pngjs: ['picture'],
  'prom-client': ['http'],
  yaml: ['app'],
  zod: ['app'],
};

interface Import {
  readonly from: string;
  /** A file of src/, or a bare package. */
  readonly target: string;
  /** True for `import type` and `export type`, which leave nothing at run time. */
  readonly typeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(SRC, join(entry.parentPath, entry.name)))
    .sort();
}

function importsOf(file: string): Import[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(SRC, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const name = specifier.text;
    if (name.startsWith('node:')) return;
    const target = name.startsWith('.')
      ? relative(SRC, join(SRC, dirname(file), name.replace(/\.js$/, '.ts')))
      : name;
    found.push({ from: file, target, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Every import of `imports` that breaks the table. */
function violations(imports: readonly Import[]): string[] {
  const broken: string[] = [];
  for (const { from, target } of imports) {
    const folder = from.split('/')[0]!;
    if (folder === 'index.ts') continue;
    const top = target.split('/')[0]!;
    if (!target.endsWith('.ts')) {
      if (PACKAGE_USERS[top]?.includes(folder) !== true) broken.push(`${from} imports the package ${target}`);
      continue;
    }
    if (CLIENT_ONLY.test(target) && !CLIENT_USERS.has(folder))
      broken.push(`${from} imports the client ${target}`);
    const allowed = MAY_IMPORT[folder] ?? [];
    if (top !== folder && !allowed.includes(top) && !allowed.includes(target))
      broken.push(`${from} imports ${target}`);
  }
  return broken;
}

/** A cycle among files, as a path that ends where it began, or undefined. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const edges = groupByImporter(imports);
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const edge of edges.get(file) ?? []) {
      const cycle = visit(edge.target);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of edges.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function groupByImporter(imports: readonly Import[]): Map<string, Import[]> {
  const groups = new Map<string, Import[]>();
  for (const edge of imports) {
    const list = groups.get(edge.from);
    if (list === undefined) groups.set(edge.from, [edge]);
    else list.push(edge);
  }
  return groups;
}

const files = sourceFiles(SRC);
const imports = files.flatMap(importsOf);

t.test('every folder of src/ is in the table', async (t) => {
  const folders = new Set(files.filter((file) => file.includes('/')).map((file) => file.split('/')[0]!));
  t.strictSame(
    [...folders].filter((folder) => !(folder in MAY_IMPORT)),
    [],
  );
  t.strictSame(
    files.filter((file) => !file.includes('/')),
    ['index.ts'],
    'one file beside the folders',
  );
});

t.test('every import of a file of src/ finds that file', async (t) => {
  const known = new Set(files);
  t.strictSame(
    imports.filter((edge) => edge.target.endsWith('.ts') && !known.has(edge.target)),
    [],
  );
});

t.test('no import goes upward', async (t) => {
  t.ok(imports.length > 20, 'the imports were found');
  t.strictSame(violations(imports), []);
});

t.test('no cycles, types included', async (t) => {
  t.equal(findCycle(imports)?.join(' -> '), undefined);
});

t.test('the table refuses what it should', async (t) => {
  const edge = (from: string, target: string): Import => ({ from, target, typeOnly: false });
  t.equal(violations([edge('nbd/server.ts', 'ebs/constants.ts')]).length, 1, 'nbd knows nothing of EBS');
  t.equal(
    violations([edge('emulator/server.ts', 'ebs/errors.ts')]).length,
    1,
    'nor the emulator of the client',
  );
  t.equal(violations([edge('snapshot/x.ts', 'ebs/sdk-client.ts')]).length, 1, 'snapshot sees only the port');
  t.equal(violations([edge('app/x.ts', '@aws-sdk/client-ebs')]).length, 1, 'one importer of the SDK');
  t.equal(violations([edge('util/x.ts', 'lodash')]).length, 1, 'unknown packages');
  t.strictSame(
    violations([edge('emulator/x.ts', 'ebs/constants.ts'), edge('app/x.ts', 'ebs/sdk-client.ts')]),
    [],
  );
  t.strictSame(findCycle([edge('a.ts', 'b.ts'), edge('b.ts', 'c.ts'), edge('c.ts', 'b.ts')]), [
    'b.ts',
    'c.ts',
    'b.ts',
  ]);
});

t.test('the table in docs/ARCHITECTURE.md names the same folders', async (t) => {
  const text = readFileSync(join(ROOT, 'docs/ARCHITECTURE.md'), 'utf8');
  for (const folder of Object.keys(MAY_IMPORT)) {
    if (folder === 'writer' && !files.some((file) => file.startsWith('writer/'))) continue;
    t.match(text, new RegExp(`^\\| \`src/${folder}\``, 'm'), `src/${folder}`);
  }
});
