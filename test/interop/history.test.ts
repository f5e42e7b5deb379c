// The history of a volume and of a file in it, out of filesystems that real programs changed.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { historyTable, tellHistory, type HistoryTask } from '../../src/app/history/history.js';
import type { HistoryEntry } from '../../src/app/history/history-entry.js';
import { importImage } from '../../src/emulator/import/import-image.js';
import { silentLogger } from '../../src/util/logger.js';
import { MIB } from '../../src/util/units.js';
import { runCli } from '../fixtures/cli.js';
import { compiledMain } from '../fixtures/compiled.js';
import { CREDENTIALS } from '../fixtures/emulator.js';
import { BLOCK_BYTES, emulatorFor, type TestEmulator } from '../fixtures/ebs-emulator.js';
import { makeExt4Image } from '../fixtures/images.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);
Object.assign(process.env, CREDENTIALS);

interface Place {
  readonly emulator: TestEmulator;
  /** The oldest first: without the file, with it, something else changed, the file changed. */
  readonly ids: readonly string[];
  readonly volumeId: string;
  readonly tell: (changes?: Partial<HistoryTask>) => Promise<readonly HistoryEntry[]>;
}

async function generations(t: Test): Promise<Place> {
  const folder = workFolder(t);
  const emulator = await emulatorFor(t);
  mkdirSync(join(folder, 'tree'));
  writeFileSync(join(folder, 'tree/other'), 'other\n');
  for (const text of ['one', 'two!']) writeFileSync(join(folder, text), text);
  const image = await makeExt4Image(join(folder, 'image'), join(folder, 'tree'));
  const change = (...requests: string[]): Promise<unknown> => {
    writeFileSync(join(folder, 'requests'), requests.map((request) => `${request}\n`).join(''));
    return mustRun('debugfs', ['-w', '-f', join(folder, 'requests'), image.path]);
  };
  const ids: string[] = [];
  const keep = async (): Promise<void> => {
    const parent = ids.at(-1);
    const clock = new ManualClock(Date.UTC(2026, 0, 1 + ids.length));
    const from = parent === undefined ? {} : { parent };
    ids.push(await importImage({ dir: emulator.dir, imagePath: image.path, clock, ...from }));
  };
  await keep();
  await change(`write ${join(folder, 'one')} note`, 'set_inode_field note mtime 20260102000000');
  await keep();
  const file = openSync(image.path, 'r+');
  writeSync(file, Buffer.alloc(2 * BLOCK_BYTES, 7), 0, 2 * BLOCK_BYTES, 80 * MIB);
  closeSync(file);
  await keep();
  await change('rm note', `write ${join(folder, 'two!')} note`);
  await keep();
  const volumeId = (ids[0] ?? '').replace('snap-', 'vol-');
  const task: HistoryTask = {
    subject: { kind: 'volume', volumeId },
    countMax: 50,
    api: { endpointUrl: emulator.url },
    logger: silentLogger,
    signal: new AbortController().signal,
  };
  const tell = async (changes: Partial<HistoryTask> = {}): Promise<readonly HistoryEntry[]> => {
    const entries: HistoryEntry[] = [];
    for await (const entry of tellHistory({ ...task, ...changes })) entries.push(entry);
    return entries;
  };
  return { emulator, ids, volumeId, tell };
}

t.test('four generations of a volume', needsPrograms('mke2fs', 'debugfs'), async (t) => {
  const { emulator, ids, volumeId, tell } = await generations(t);
  const newestFirst = [...ids].reverse();
  const getsOf = (id: string): number => emulator.stats().snapshots[id]?.gets ?? 0;

  await t.test('what changed between them, by the listings alone', async (t) => {
    const entries = await tell();
    t.strictSame(
      entries.map(({ snapshot }) => snapshot.snapshotId),
      newestFirst,
    );
    t.strictSame(
      entries.map(({ since }) => since),
      [...newestFirst.slice(1), undefined],
    );
    t.equal(entries[1]?.changedBytes, 2 * BLOCK_BYTES);
    t.ok((entries[0]?.changedBytes ?? 0) > 0 && (entries[2]?.changedBytes ?? 0) > 0);
    t.equal(entries[3]?.changedBytes, undefined, 'there is nothing older');
    t.notOk(entries.some(({ file, problem }) => file ?? problem));
    t.equal(ids.map(getsOf).join(), '0,0,0,0', 'no block was read');
  });

  await t.test('the versions of a file, read only where what decides them changed', async (t) => {
    const entries = await tell({ path: '/note' });
    t.strictSame(
      entries.map(({ file }) => file?.version),
      [1, 2, 2, undefined],
    );
    t.strictSame(
      entries.map(({ file }) => file?.found.state),
      ['present', 'present', 'present', 'absent'],
    );
    t.match(entries[0]?.file?.found, { stat: { sizeBytes: 4 } });
    t.match(entries[2]?.file?.found, { stat: { sizeBytes: 3 } });
    t.strictSame(
      entries.map(({ file }) => file?.wasRead),
      [true, true, false, true],
    );
    t.equal(getsOf(ids[1] ?? ''), 0, 'the second one was not touched');
    t.ok(getsOf(ids[0] ?? '') > 0 && getsOf(ids[0] ?? '') <= 8, 'a few blocks of the oldest');
  });

  await t.test('the same with a service that fails, throttles and gives short and empty pages', async (t) => {
    const plain = await tell({ path: '/note' });
    emulator.setFaults({ errorRate: 0.15, emptyPageRate: 0.3, pageSize: 2, listRate: 200, seed: 5 });
    t.teardown(() =>
      emulator.setFaults({ errorRate: 0, emptyPageRate: 0, pageSize: null, listRate: null, seed: 1 }),
    );
    const told: string[] = [];
    const onProgress = (snapshotId: string): void => {
      if (told.at(-1) !== snapshotId) told.push(snapshotId);
    };
    t.strictSame(await tell({ path: '/note', onProgress }), plain);
    t.strictSame(
      told,
      newestFirst.filter((id) => told.includes(id)),
      'in their order',
    );
  });

  await t.test('up to a snapshot, and so many', async (t) => {
    const upTo = await tell({ subject: { kind: 'snapshot', snapshotId: ids[2] ?? '' }, countMax: 1 });
    t.match(upTo, [{ snapshot: { snapshotId: ids[2] }, since: ids[1], changedBytes: 2 * BLOCK_BYTES }]);
    t.equal(upTo.length, 1);
  });

  await t.test('what cannot be compared is told in its place, and the file is read everywhere', async (t) => {
    emulator.setFaults({ deny: 'ebs:ListChangedBlocks' });
    t.teardown(() => emulator.setFaults({ deny: null }));
    const entries = await tell({ path: '/note' });
    t.strictSame(
      entries.map(({ file }) => [file?.version, file?.wasRead]),
      [
        [1, true],
        [2, true],
        [2, true],
        [undefined, true],
      ],
    );
    t.strictSame(
      entries.map(({ changedBytes }) => changedBytes),
      [undefined, undefined, undefined, undefined],
    );
    const [, row] = historyTable(entries, true);
    t.match(row?.at(-1), /^Cannot compare snap-\w+ with snap-\w+: .*ebs:ListChangedBlocks/);
  });

  await t.test('no such volume, no rights to EC2, no such partition', async (t) => {
    const none = 'vol-0123456789abcdef0';
    await t.rejects(tell({ subject: { kind: 'volume', volumeId: none } }), {
      message: `Cannot find a snapshot of ${none}: there is none that this identity sees. Check the id and the region (us-east-1).`,
    });
    const [only] = await tell({ path: '/note', partition: '7', countMax: 1 });
    t.match(only?.file?.found, { state: 'unknown', reason: /Cannot find the partition "7"/ });
    emulator.setFaults({ deny: 'ec2:*' });
    t.teardown(() => emulator.setFaults({ deny: null }));
    await t.rejects(tell({ subject: { kind: 'snapshot', snapshotId: ids[2] ?? '' } }), {
      message: /Allow ec2:DescribeSnapshots to this identity\. .*"snapnbd map snap-\w+ --against OLDER"/,
    });
  });

  await t.test('by the command line', async (t) => {
    const at = ['history', volumeId, '--endpoint-url', emulator.url];
    const [table, lines] = await Promise.all([
      runCli(t, [...at, '--path', 'note']),
      runCli(t, [...at, '--json', '--limit', '2', '--path', '/note', '--partition', '7']),
    ]);
    t.equal(table.status, 0, table.stderr);
    const cells = table.stdout.split('\n').map((line) => line.split(/ {2,}/));
    t.strictSame(cells[0]?.slice(0, 5), ['STARTED', 'SNAPSHOT', 'SIZE', 'CHANGED', 'VERSION']);
    t.strictSame(cells[2]?.slice(0, 6), [
      ...['2026-01-03T00:00:00Z', newestFirst[1], '1 GiB', '1 MiB', '2', '3 B'],
    ]);
    t.strictSame(cells[4]?.slice(1, 5), [newestFirst[3], '1 GiB', '-', 'absent']);
    t.match(lines, { status: 1, stderr: /2 of 2 snapshots could not be compared or read, see above/ });
    const objects = lines.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    t.match(objects[1], { snapshotId: newestFirst[1], sinceSnapshotId: newestFirst[2], changedBytes: MIB });
    t.match(objects[1], { file: { state: 'unknown', version: null, error: /partition "7"/ } });
    t.equal(objects.length, 2);
    const command = [process.execPath, compiledMain(), ...at, '--json'];
    const script = '{ "$@" 2>&3 | true; echo "${PIPESTATUS[0]}"; } 3>&1';
    const unread = await mustRun('bash', ['-c', script, 'bash', ...command], { env: { NODE_OPTIONS: '' } });
    t.equal(unread, '0\n', 'somebody who reads only the beginning is no failure');
  });
});
