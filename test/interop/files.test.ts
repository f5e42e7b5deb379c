// Files out of filesystems that real programs made, by the command line: no mount, no root.
import { chmodSync, existsSync, lstatSync, readlinkSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runCli } from '../fixtures/cli.js';
import { writeFileTree } from '../fixtures/file-tree.js';
import { makeExt4Image, makeGptImage } from '../fixtures/images.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { importImage } from '../fixtures/serving.js';
import { sumsOf } from '../fixtures/sums.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** What a filesystem in memory may not do. */
async function canKeepAttributes(folder: string): Promise<boolean> {
  return (await runProgram('setfattr', ['-n', 'user.test', '-v', '1', folder])).status === 0;
}

t.test(
  'ls and cp read an ext4 partition, every file equal',
  needsPrograms('mke2fs', 'debugfs', 'sfdisk', 'setfattr'),
  async (t) => {
    const folder = workFolder(t);
    const tree = writeFileTree(join(folder, 'tree'), 'files');
    // Some time before 1970, which Node.js takes for the present when it is a number.
    utimesSync(join(tree.folder, 'large.bin'), '-1000000', '-1000000');
    const ext4 = await makeExt4Image(join(folder, 'ext4'), tree.folder);
    for (const name of ['large.bin', 'many', 'sparse']) {
      await mustRun('debugfs', ['-w', '-R', `ea_set /${name} user.test of-${name}`, ext4.path]);
    }
    const image = await makeGptImage(join(folder, 'gpt'), ext4);
    const emulator = join(folder, 'emulator');
    const snapshotId = await importImage(t, emulator, image.path);
    const out = join(folder, 'out');

    const listed = await runCli(t, ['ls', '--json', `${snapshotId}:/large.bin`, '--emulator', emulator]);
    const large = JSON.parse(listed.stdout);
    t.match(large, { kind: 'file', mode: '0755', sizeBytes: statSync(join(tree.folder, 'large.bin')).size });

    const copied = await runCli(t, ['cp', '-r', `${snapshotId}:/`, out, '--emulator', emulator, '--json']);
    t.equal(copied.status, 0, 'everything was copied', { stderr: copied.stderr });
    t.equal(sumsOf(out), tree.sums, 'every file');
    t.equal(readlinkSync(join(out, 'link-to-nowhere')), '/no/such/file');
    t.equal(lstatSync(join(out, 'large.bin')).mode & 0o7777, 0o755);
    t.equal(statSync(join(out, 'large.bin')).mtimeMs, -1_000_000_000, 'times are kept');
    t.ok(statSync(join(out, 'sparse')).blocks * 512 < 1_000_000, 'holes stay holes');

    const isKept = await canKeepAttributes(folder);
    t.equal(JSON.parse(copied.stdout).attributesLostCount, isKept ? 0 : 3);
    t.match(
      copied.stderr,
      isKept ? /^$/ : /attributes .* of 3 files were not all kept: Operation not supported/,
    );
    const places = ['large.bin', 'many', 'sparse'].map((name) => join(out, name));
    const found = await runProgram('getfattr', [
      '--absolute-names',
      '--only-values',
      '-n',
      'user.test',
      ...places,
    ]);
    t.equal(found.stdout, isKept ? 'of-large.binof-manyof-sparse' : '', 'attributes are kept');

    const again = await runCli(t, [
      'cp',
      `${snapshotId}:/etc/hostname`,
      join(out, 'empty'),
      '--emulator',
      emulator,
    ]);
    t.equal(again.status, 1, 'nothing is replaced unasked');
    t.match(again.stderr, /it is there already/);
    t.equal(statSync(join(out, 'empty')).size, 0);

    // As a copy that was killed leaves it.
    chmodSync(join(out, 'many'), 0o700);
    unlinkSync(join(out, 'many/7'));
    const forced = await runCli(t, ['cp', '-rf', `${snapshotId}:/`, out, '--emulator', emulator]);
    t.equal(forced.status, 0, 'copied again', { stderr: forced.stderr });
    t.equal(sumsOf(out), tree.sums, 'every file again');
    t.equal(lstatSync(join(out, 'many')).mode & 0o7777, statSync(join(tree.folder, 'many')).mode & 0o7777);

    const missing = await runCli(t, ['cp', `${snapshotId}:/no/such`, out, '--emulator', emulator]);
    t.match([missing.status, missing.stderr], [1, /there is no such file/]);
    t.notOk(existsSync(join(out, 'such')));
  },
);
