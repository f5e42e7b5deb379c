// docs/PROTOCOL.md, held against the sources and the tests.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const doc = read('docs/PROTOCOL.md');

/** The rows of all tables: cells, trimmed. */
const rows = doc
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
  .map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );

/** The file that a cell links to, from the top of the repository. */
function linkIn(cell: string | undefined): string | undefined {
  return /\]\(\.\.\/([^)]+)\)/.exec(cell ?? '')?.[1];
}

/** The text of all files below a folder. */
function allText(folder: string): string {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n');
}

/** True when a text has a tag: `nbd-rule 2` is not in `nbd-rule 20`, but is in `nbd-rule 1, 2`. */
function hasTag(text: string, tag: string): boolean {
  const rule = /^nbd-rule (\d+)$/.exec(tag)?.[1];
  return rule === undefined
    ? text.includes(`[${tag}`)
    : new RegExp(String.raw`nbd-rule (?:\d+, )*${rule}\b`).test(text);
}

t.test(
  'every row that says yes or refused has a test with its tag, which the sources have too',
  async (t) => {
    const source = allText('src/nbd');
    const features = rows.filter((row) => row.length === 5 && row[1] !== 'status');
    t.ok(features.length > 80);
    for (const [name, status, , tagCell, testCell] of features) {
      t.match(status, /^(?:yes|refused|not sent|later)$/, `${name}`);
      const test = linkIn(testCell);
      if (test === undefined) {
        t.match(status, /not sent|later/, `${name} has no test`);
        continue;
      }
      const tag = tagCell?.replaceAll('`', '') ?? '';
      t.ok(existsSync(join(ROOT, test)), test);
      t.ok(hasTag(read(test), tag), `${name}: ${tag} in ${test}`);
      // Of the rules the last test says the same.
      const heading = tag.split('; ').find((part) => part.startsWith('nbd: '));
      const isKept =
        heading === undefined || [']', '; ', ' /'].some((end) => source.includes(`[${heading}${end}`));
      t.ok(isKept, `${name}: ${heading ?? ''} in src/nbd`);
    }
    t.strictSame(
      features.filter(([, status]) => status === 'later').map(([name]) => name),
      ['`NBD_FLAG_SEND_RESIZE`', '`NBD_CMD_RESIZE`'],
      'nothing is left for later but RESIZE',
    );
  },
);

t.test('every test that a row of real clients names is there', async (t) => {
  const links = [...doc.matchAll(/\]\(\.\.\/(test\/interop\/[^)]+)\)/g)].map(([, path]) => path!);
  t.ok(links.length > 10);
  for (const path of links) t.ok(existsSync(join(ROOT, path)), path);
});

t.test('all forty rules have a home and a test, each with the tag', async (t) => {
  const rules = rows.filter((row) => /^`nbd-rule \d+`$/.test(row[0] ?? ''));
  t.strictSame(
    rules.map(([tag]) => tag),
    Array.from({ length: 40 }, (_, index) => `\`nbd-rule ${index + 1}\``),
  );
  for (const [tagCell, , homeCell, testCell] of rules) {
    const tag = tagCell!.replaceAll('`', '');
    for (const file of [linkIn(homeCell)!, linkIn(testCell)!]) {
      t.ok(existsSync(join(ROOT, file)), file);
      t.ok(hasTag(read(file), tag), `${tag} in ${file}`);
    }
  }
});

t.test('every value of the protocol that the sources name is in the tables', async (t) => {
  const source = `${read('src/nbd/handshake-constants.ts')}${read('src/nbd/transmission-constants.ts')}`;
  const prefixes: Readonly<Record<string, string>> = {
    HandshakeFlag: 'NBD_FLAG_',
    ClientFlag: 'NBD_FLAG_C_',
    TransmissionFlag: 'NBD_FLAG_',
    OptionType: 'NBD_OPT_',
    OptionReplyType: 'NBD_REP_',
    InfoType: 'NBD_INFO_',
    CommandFlag: 'NBD_CMD_FLAG_',
    ReplyType: 'NBD_REPLY_TYPE_',
    Command: 'NBD_CMD_',
    WireError: 'NBD_',
  };
  for (const [name, prefix] of Object.entries(prefixes)) {
    const body = new RegExp(String.raw`export const ${name} = \{([^}]*)\}`).exec(source)?.[1] ?? '';
    const keys = [...body.matchAll(/^\s*(\w+):|[{,]\s*(\w+):/gm)].map((match) => match[1] ?? match[2] ?? '');
    t.ok(keys.length > 0 || name === 'HandshakeFlag', name);
    for (const key of keys.filter((each) => each !== 'None' || name !== 'WireError')) {
      const upper = /^E[A-Z]+$/.test(key) ? key : key.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
      const wire = upper === 'START_TLS' ? 'STARTTLS' : upper;
      t.ok(doc.includes(`\`${prefix}${wire}\``), `${prefix}${wire}`);
    }
  }
});

t.test('no tag is made up: those in the sources are in a test, and the other way round', async (t) => {
  const tagsIn = (text: string): Set<string> =>
    new Set([...text.matchAll(/nbd-rule ((?:\d+, )*\d+)/g)].flatMap((match) => match[1]!.split(', ')));
  const inSource = tagsIn(`${allText('src/nbd')}${allText('src/device')}`);
  const inTests = tagsIn(allText('test/nbd'));
  const inDoc = new Set(Array.from({ length: 40 }, (_, index) => String(index + 1)));
  t.strictSame([...inSource].sort(), [...inDoc].sort());
  t.strictSame(
    [...inTests].filter((tag) => !inDoc.has(tag)),
    [],
  );
  t.strictSame(
    [...inDoc].filter((tag) => !inTests.has(tag)),
    [],
  );
});
