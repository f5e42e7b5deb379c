import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { undoAbandoned } from '../../src/app/mounting/abandoned.js';
import { MountRecords, type MountRecord } from '../../src/mount/mount-record.js';
import { everythingMounted } from '../../src/mount/mount-table.js';
import { undoMount } from '../../src/mount/undoing.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { workFolder } from '../fixtures/work-folder.js';

/** More than any Linux gives to a process. */
const NO_PID = 2 ** 30;

function recordOf(directory: string, folder: string, nbdDevice: string | null = null): MountRecord {
  const snapshotId = 'snap-0123456789abcdef0';
  return { version: 1, directory, snapshotId, forkName: null, folder, nbdDevice, ownerPid: NO_PID };
}

t.test('a device that somebody else has mounted since is left alone', async (t) => {
  const folder = join(workFolder(t), 'snapnbd-mount-1');
  mkdirSync(folder);
  const [theirs] = everythingMounted();
  await undoMount(recordOf(join(folder, 'files'), folder, theirs?.source ?? ''));
  t.notOk(existsSync(folder));
  t.strictSame(everythingMounted()[0], theirs);
});

t.test('an abandoned mount that cannot be undone is told, and keeps nobody from anything else', async (t) => {
  const folder = workFolder(t);
  const records = new MountRecords(folder);
  writeFileSync(join(folder, 'file'), '');
  const stuck = recordOf(join(folder, 'stuck'), join(folder, 'file/snapnbd-mount-1'));
  const another = recordOf(join(folder, 'another'), join(folder, 'snapnbd-mount-2'));
  const living = {
    ...recordOf(join(folder, 'living'), join(folder, 'snapnbd-mount-3')),
    ownerPid: process.pid,
  };
  for (const record of [stuck, another, living]) records.write(record);
  mkdirSync(join(records.folder, 'unreadable.json'));
  const log = new MemoryLog();
  await undoAbandoned(records, log);
  t.strictSame(
    records
      .list()
      .map(({ directory }) => directory)
      .sort(),
    [living.directory, stuck.directory],
  );
  t.match(log.lines, [{ level: 'warn', message: /left behind/, fields: { directory: stuck.directory } }]);
  t.equal(log.lines.length, 1);
});
