import t from 'tap';
import { parseExportSpec, parseExportSpecs } from '../../src/app/export-spec.js';
import { UsageError } from '../../src/util/errors.js';

const ID = 'snap-0123456789abcdef0';

t.test('the three forms', async (t) => {
  t.strictSame(parseExportSpec(ID), { name: ID, source: { kind: 'snapshot', snapshotId: ID } });
  t.strictSame(parseExportSpec('snap-0123abcd').name, 'snap-0123abcd', 'ids of before 2016');
  t.strictSame(parseExportSpec(`tuesday=${ID}`), {
    name: 'tuesday',
    source: { kind: 'snapshot', snapshotId: ID },
  });
  t.strictSame(parseExportSpec('m=memory:1536'), { name: 'm', source: { kind: 'memory', sizeBytes: 1536 } });
  t.strictSame(parseExportSpec('m=memory:64TiB').source, { kind: 'memory', sizeBytes: 2 ** 46 });
});

t.test('mistakes are one line that says what to write', async (t) => {
  const wrong = [
    '',
    'tuesday',
    'snap-',
    'snap-0123456789ABCDEF0',
    'snap-0123456789abcdef',
    `${ID}0`,
    `=${ID}`,
    'a=',
    'a=vol-0123456789abcdef0',
    'a=memory:',
    'a=memory:511',
    'a=memory:0',
    'a=memory:65TiB',
    `a\0b=${ID}`,
    `${'x'.repeat(4097)}=${ID}`,
  ];
  for (const text of wrong) {
    try {
      parseExportSpec(text);
      t.fail(`accepted ${JSON.stringify(text)}`);
    } catch (error) {
      t.type(error, UsageError);
      t.notMatch((error as Error).message, /\n/);
    }
  }
});

t.test('names are distinct', async (t) => {
  t.equal(parseExportSpecs(['a=memory:512', `b=${ID}`, ID]).length, 3);
  t.throws(() => parseExportSpecs(['a=memory:512', `a=${ID}`]), UsageError);
});

t.test('snapshots that a snapshot is compared with', (t) => {
  const other = 'snap-0123456789abcdef1';
  const third = 'snap-0123456789abcdef2';
  const source = { kind: 'snapshot', snapshotId: ID, since: [other, third] };
  t.strictSame(parseExportSpec(`new=${ID},since=${other},since=${third}`), { name: 'new', source });
  t.strictSame(parseExportSpec(`${ID},since=${other},since=${third}`), { name: ID, source });
  t.strictSame(parseExportSpec(`new=fork:${ID},since=${ID},since=${other}`), {
    name: 'new',
    source: { kind: 'fork', snapshotId: ID, since: [ID, other] },
  });
  for (const [text, message] of [
    [`new=fork:${ID},since=${other},since=${other}`, /stands twice/],
    [`new=fork:${ID},`, /is not an option/],
    [`new=blank:1GiB,since=${ID}`, /size/],
    [`new=${ID},since=${ID}`, /nothing changes/],
    [`new=${ID},since=${other},since=${other}`, /stands twice/],
    [`new=${ID},before=${other}`, /is not an option/],
    [`new=${ID},since=tuesday`, /as a snapshot id/],
    [`new=${ID},`, /is not an option/],
  ] as const) {
    t.throws(() => parseExportSpec(text), { message }, text);
  }
  t.end();
});
