// Mounting on this machine, as root: by the kernel's nbd driver where there is one, else by nbdfuse and a loop device.
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCli, startCli } from '../fixtures/cli.js';
import { compiledMain } from '../fixtures/compiled.js';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import { writeFileTree } from '../fixtures/file-tree.js';
import {
  makeExt4Image,
  makeGptImage,
  makeMbrImage,
  makeXfsImage,
  type DiskImage,
} from '../fixtures/images.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS, type Needs } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { importImage } from '../fixtures/serving.js';
import { sumsOf } from '../fixtures/sums.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** What a container may not have, however it is set up: no reason to fail. */
function needsMounting(): Needs {
  if (process.getuid?.() !== 0) return { skip: 'needs root' };
  try {
    for (const device of ['/dev/fuse', '/dev/loop-control', '/dev/loop0']) accessSync(device, constants.R_OK);
    return {};
  } catch {
    return { skip: 'there is no /dev/fuse, or there are no loop devices' };
  }
}

/** Processes whose command line names a folder. */
function processesNaming(folder: string): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && commandLineOf(pid).includes(folder));
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it has ended
  }
}

const needs = { ...needsPrograms('mke2fs', 'sfdisk', 'nbdfuse', 'losetup'), ...needsMounting() };

t.test('mount and umount leave nothing, also after a crash', needs, async (t) => {
  const folder = workFolder(t);
  const tree = writeFileTree(join(folder, 'tree'), 'mount');
  const image = await makeGptImage(
    join(folder, 'gpt'),
    await makeExt4Image(join(folder, 'ext4'), tree.folder),
  );
  const emulator = join(folder, 'emulator');
  const snapshotId = await importImage(t, emulator, image.path);
  const directory = join(folder, 'mounted');
  const stateDir = join(folder, 'state');
  const temporary = join(folder, 'tmp');
  mkdirSync(directory);
  mkdirSync(temporary);
  const env = { TMPDIR: temporary };
  const mountArgs = ['mount', snapshotId, directory, '--emulator', emulator, '--state-dir', stateDir];
  const umountArgs = ['umount', directory, '--state-dir', stateDir];
  const isMounted = (): boolean => readFileSync('/proc/mounts', 'utf8').includes(folder);
  const umount = () => runCli(t, umountArgs, env);
  t.teardown(async () => {
    if (existsSync(join(stateDir, 'mounts'))) await runCli(t, umountArgs, env);
  });
  const checkNothingLeft = async (t: Test, what: string): Promise<void> => {
    t.notOk(isMounted(), `${what}: no mount`);
    t.notMatch((await runProgram('losetup', ['--list'])).stdout, folder, `${what}: no loop device`);
    t.strictSame(processesNaming(folder), [], `${what}: no process`);
    t.strictSame(
      [readdirSync(join(stateDir, 'mounts')), readdirSync(temporary)],
      [[], []],
      `${what}: no record`,
    );
  };

  const mounted = await runCli(t, mountArgs, env);
  t.equal(mounted.status, 0, 'mounted', { stderr: mounted.stderr });
  t.match(mounted.stdout, /ext4 of partition 2, read-only/);
  t.equal(readFileSync(join(directory, 'etc/hostname'), 'utf8'), 'restored\n');
  const twice = await runCli(t, mountArgs, env);
  t.match([twice.status, twice.stderr], [1, /it is in use already/], 'not a second time');
  const elsewhere = join(folder, 'elsewhere');
  mkdirSync(elsewhere);
  await runProgram('mount', ['--bind', directory, elsewhere]);
  t.match(await umount(), { status: 1, stderr: `mounted on "${elsewhere}" too. Unmount that first` });
  await runProgram('umount', [elsewhere]);
  await runProgram('mount', ['-t', 'tmpfs', 'somebody', directory]);
  t.match(await umount(), { status: 1, stderr: 'somebody is mounted on top of it. Unmount that first' });
  await runProgram('umount', [directory]);
  t.equal(readFileSync(join(directory, 'etc/hostname'), 'utf8'), 'restored\n', 'still there');
  t.equal((await umount()).status, 0, 'unmounted');
  await checkNothingLeft(t, 'umount');
  t.match((await umount()).stderr, /has mounted nothing there/);

  t.equal((await runCli(t, mountArgs, env)).status, 0);
  const [server] = processesNaming(folder).filter((pid) => commandLineOf(pid).includes('\0serve\0'));
  process.kill(server ?? 0, 'SIGKILL');
  t.match(await umount(), { status: 0, stderr: '' }, 'after the server was killed');
  await checkNothingLeft(t, 'a killed server');

  const half = startCli(t, mountArgs, env);
  while (!processesNaming(folder).some((pid) => commandLineOf(pid).includes('\0serve\0'))) {
    await new Promise(setImmediate);
  }
  await half.stop('SIGKILL');
  t.equal((await umount()).status, 0, 'after mount was killed');
  await checkNothingLeft(t, 'a killed mount');
});

t.test(
  'ls and cp mount what they cannot read themselves; what cannot be done is said in one line, as root and not',
  { ...needsPrograms('mkfs.xfs', 'mke2fs', 'sfdisk', 'nbdfuse', 'setpriv'), ...needsMounting() },
  async (t) => {
    const folder = workFolder(t);
    chmodSync(folder, 0o755);
    const tree = writeFileTree(join(folder, 'tree'), 'mount');
    const dir = join(folder, 'emulator');
    const xfs = await importImage(t, dir, (await makeXfsImage(join(folder, 'xfs'), tree.folder)).path);
    const ext4Image = await makeExt4Image(join(folder, 'ext4'), tree.folder);
    const ext4 = await importImage(t, dir, ext4Image.path);
    const gpt = await importImage(t, dir, (await makeGptImage(join(folder, 'gpt'), ext4Image)).path);
    const mbr = await importImage(t, dir, (await makeMbrImage(join(folder, 'mbr'), ext4Image)).path);
    writeFileSync(join(folder, 'blank'), '');
    truncateSync(join(folder, 'blank'), 1024 ** 2);
    const blank = await importImage(t, dir, join(folder, 'blank'));
    const absent = 'snap-00000000000000000';
    const { url } = await startEmulator(t, dir);
    const [stateHome, directory, own] = ['state', 'mounted', 'own'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(directory);
    mkdirSync(own);
    chownSync(own, 65534, 65534);
    const env = {
      ...CREDENTIALS,
      ...{ AWS_ENDPOINT_URL_EBS: url, XDG_STATE_HOME: stateHome, TMPDIR: folder },
    };

    const out = join(folder, 'out');
    const copied = await runCli(t, ['cp', '-r', `${xfs}:/`, out], env);
    t.match(copied, { status: 0, stderr: '' }, 'all of an XFS filesystem was copied');
    t.equal(sumsOf(out), tree.sums, 'every file');
    t.equal(readlinkSync(join(out, 'link-to-nowhere')), '/no/such/file');
    t.notMatch(readFileSync('/proc/mounts', 'utf8'), folder, 'nothing is left mounted');
    t.strictSame(readdirSync(join(stateHome, 'snapnbd/mounts')), [], 'no record is left');

    // Somebody else, who can read the program wherever this repository lies.
    const capabilities = '-all,+dac_read_search';
    const asNobody = [
      ...['--reuid', '65534', '--regid', '65534', '--clear-groups'],
      ...['--inh-caps', capabilities, '--ambient-caps', capabilities],
    ];
    // tap has every process of Node.js write a file of its own, which nobody else may.
    const withoutTap = ['env', '-u', 'NODE_OPTIONS', process.execPath];
    const nobodyEnv = { ...env, HOME: '/nonexistent', XDG_STATE_HOME: join(folder, 'nobody') };
    type Asked = readonly [readonly string[], 'root' | 'nobody', number, RegExp];
    // Where it is installed, a virtual machine is started, which takes up to a minute.
    const withoutGuestfish: readonly Asked[] = existsSync('/usr/bin/guestfish')
      ? []
      : [[['ls', xfs], 'nobody', 1, /Cannot read xfs without mounting it .* sudo; or install guestfish/]];
    const asked: readonly Asked[] = [
      [['ls', `${xfs}:/etc`], 'root', 0, /^$/],
      [['ls', `${mbr}:/etc`], 'root', 0, /^$/],
      [['mount', mbr, directory], 'root', 0, /^$/],
      [['umount', directory], 'root', 0, /^$/],
      [['cp', `${blank}:/x`, out], 'nobody', 1, /no filesystem that is known here.*"snapnbd map"/],
      [['mount', blank, directory], 'root', 1, /The disk holds no filesystem that is known here/],
      [['ls', absent], 'root', 1, /snap-00000000000000000/],
      [['mount', absent, directory], 'root', 1, /snap-00000000000000000/],
      [['umount', directory], 'root', 1, /has mounted nothing there/],
      [['mount', ext4, join(folder, 'no-such')], 'root', 1, /Cannot use the directory/],
      [['ls', `${ext4}:/etc`], 'nobody', 0, /^$/],
      [['ls', `${gpt}:/etc`], 'nobody', 0, /^$/],
      [['cp', `${mbr}:/etc/hostname`, join(own, 'hostname')], 'nobody', 0, /^$/],
      [['ls', absent], 'nobody', 1, /snap-00000000000000000/],
      ...withoutGuestfish,
      [['mount', ext4, directory], 'nobody', 1, /Cannot mount without root: run it with sudo/],
      [['umount', directory], 'nobody', 1, /Cannot umount without root/],
    ];
    const runAs = (args: readonly string[], user: 'root' | 'nobody') =>
      user === 'root'
        ? runCli(t, args, env)
        : runProgram('setpriv', [...asNobody, '--', ...withoutTap, compiledMain(), ...args], {
            env: nobodyEnv,
          });
    for (const [args, user, status, line] of asked) {
      const outcome = await runAs(args, user);
      t.match(outcome, { status, stderr: line }, `${args.join(' ')} as ${user}`);
      t.ok(outcome.stderr.split('\n').length <= 2, 'in one line at most', { stderr: outcome.stderr });
    }
    t.equal(readFileSync(join(own, 'hostname'), 'utf8'), 'restored\n');
    t.notMatch(readFileSync('/proc/mounts', 'utf8'), folder, 'nothing is left mounted');
  },
);

/** What a disk in use holds: a file whose directory entry was flushed, and so is in the journal. @returns its image. */
async function cutOff(folder: string, image: DiskImage): Promise<string> {
  const directory = join(folder, 'in-use');
  mkdirSync(directory, { recursive: true });
  await mustRun('mount', ['-o', 'loop', image.path, directory]);
  try {
    writeFileSync(join(directory, 'newest'), 'newest\n', { flush: true });
    await mustRun('cp', ['--sparse=always', image.path, `${image.path}-cut-off`]);
  } finally {
    await mustRun('umount', [directory]);
  }
  return `${image.path}-cut-off`;
}

t.test(
  'of a disk in use, a mount says that its journal is not replayed, ls reads it, and --rw replays it',
  { ...needsPrograms('mke2fs', 'mkfs.xfs', 'nbdfuse'), ...needsMounting() },
  async (t) => {
    const folder = workFolder(t);
    const [emulator, directory] = [join(folder, 'emulator'), join(folder, 'mounted')];
    const tree = join(folder, 'tree');
    mkdirSync(directory);
    mkdirSync(tree);
    writeFileSync(join(tree, 'old'), 'old\n');
    const [ext4, xfs] = [
      await makeExt4Image(join(folder, 'ext4'), tree),
      await makeXfsImage(join(folder, 'xfs'), tree),
    ];
    const ext4Id = await importImage(t, emulator, await cutOff(folder, ext4));
    const xfsId = await importImage(t, emulator, await cutOff(folder, xfs));
    const env = { XDG_STATE_HOME: join(folder, 'state') };
    const run = (...args: readonly string[]) => runCli(t, args, env);
    const ofEmulator = ['--emulator', emulator];

    const note = /^snapnbd: The disk was in use when the snapshot was taken: .*--rw" mounts a fork .*\n$/;
    t.match(await run('mount', ext4Id, directory, ...ofEmulator), { status: 0, stderr: note });
    t.strictSame(readdirSync(directory).sort(), ['lost+found', 'old'], 'as it was before the journal');
    t.equal((await run('umount', directory)).status, 0);
    t.match(await run('ls', `${ext4Id}:/newest`, ...ofEmulator), {
      status: 0,
      stdout: '/newest\n',
      stderr: '',
    });
    t.match(await run('ls', xfsId, ...ofEmulator), { status: 0, stdout: 'old\n', stderr: note });
    t.match(await run('mount', '--rw', ext4Id, directory, ...ofEmulator), { status: 0, stderr: '' });
    t.equal(readFileSync(join(directory, 'newest'), 'utf8'), 'newest\n', 'a fork replays');
    t.equal((await run('umount', directory)).status, 0);
  },
);
