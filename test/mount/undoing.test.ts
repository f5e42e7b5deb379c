import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { undoAbandoned } from '../../src/app/mounting/abandoned.js';
import { apiArgumentsOf } from '../../src/app/mounting/server-process.js';
import { mountVolume } from '../../src/app/mounting/volume-mounting.js';
import type { ApiSettings } from '../../src/app/settings.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from '../../src/cli/api-options.js';
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

t.test('a mount that neither comes about nor can be undone tells both', async (t) => {
  const folder = workFolder(t);
  const records = new MountRecords(folder);
  const directory = join(folder, 'directory');
  const mainPath = join(folder, 'main.mjs');
  // Something lies where the record was: it cannot be removed.
  const server = `import { mkdirSync, readdirSync, rmSync } from 'node:fs';
    const [record] = readdirSync('${records.folder}').map((name) => '${records.folder}/' + name);
    rmSync(record);
    mkdirSync(record);
    console.error('snapnbd: Cannot serve: broken.');
    process.exitCode = 1;`;
  writeFileSync(mainPath, server);
  const mounting = mountVolume({
    ...{ snapshotId: 'snap-0123456789abcdef0', directory, isWritable: false, ownerPid: null },
    ...{ api: {}, stateDir: folder, records, mainPath, logger: new MemoryLog(), onNote: () => undefined },
  });
  await t.rejects(mounting, {
    name: 'EnvironmentError',
    message: /^Cannot serve: broken\. Nor can .* "snapnbd umount .*directory" tries again: .*directory/,
  });
});

t.test('the server of a mount has all settings of the command line', async (t) => {
  const options = ['--region', 'eu-west-1', '--aws-profile', 'use', '--endpoint-url', 'http://127.0.0.1:1'];
  const bounds = ['--retry-timeout', '1s', '--max-inflight', '7', '--get-rate', '90', '--max-cost', '0.5'];
  const prices = ['--prices', 'list=0.0006,get=0.0000001'];
  const settingsOf = (args: readonly string[]): ApiSettings =>
    apiSettingsOf(addApiOptions(new Command()).parse(args, { from: 'user' }).opts<ApiOptions>());
  const settings = settingsOf([...options, ...bounds, ...prices]);
  t.equal(Object.keys(settings).length, 8);
  t.strictSame(settingsOf(apiArgumentsOf(settings)), settings);
  t.strictSame(settingsOf(apiArgumentsOf({ emulatorDir: '/tmp/e' })), { emulatorDir: '/tmp/e' });
});
