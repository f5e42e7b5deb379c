import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compiledMain } from '../fixtures/compiled.js';
import { writeFileTree } from '../fixtures/file-tree.js';
import { makeExt4Image, makeGptImage, makeXfsImage, paddedBytes } from '../fixtures/images.js';
import { runOnKernel } from '../fixtures/kernel.js';
import { digestOf } from '../fixtures/nbd-agent.js';
import { needsKernelNbd, needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { importImage, serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** On the kernel: `look DEVICE PARTITION TYPE OPTIONS NAME` leaves what it finds in files of the shared folder. */
const LOOK = `
look() {
  blockdev --getsize64 --getro "$1" >"$SHARE/$5.device"
  local source=$1
  if [ "$2" != - ]; then source=$1p$2; fi
  case $3 in
    ext4) e2fsck -fn "$source" ;;
    xfs) xfs_repair -n "$source" ;;
  esac >"$SHARE/$5.check" 2>&1 || { cat "$SHARE/$5.check"; return 1; }
  mount -t "$3" -o "$4" "$source" /mnt
  cd /mnt
  find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$SHARE/$5.sums"
  find . -type l -printf '%p -> %l\\n' | LC_ALL=C sort >"$SHARE/$5.links"
  cd /
  umount /mnt
}
read -ra devices <<<"$NBD_DEVICES"
`;

const needs = { ...needsPrograms('mke2fs', 'mkfs.xfs', 'xfs_repair', 'sfdisk'), ...needsKernelNbd() };

t.test("the kernel's own nbd driver mounts served snapshots, every file equal", needs, async (t) => {
  const folder = workFolder(t);
  const tree = writeFileTree(join(folder, 'tree'), 'kernel-mount');
  const ext4 = await makeExt4Image(join(folder, 'ext4'), tree.folder);
  await mustRun('tune2fs', ['-L', 'label-of-ext4', ext4.path]);
  const xfs = await makeXfsImage(join(folder, 'xfs'), tree.folder);
  // A read-only disk cannot replay a journal; the journals here are empty, as after a clean unmount.
  const disks = [
    { name: 'ext4', image: ext4, type: 'ext4', options: 'ro,noload' },
    { name: 'xfs', image: xfs, type: 'xfs', options: 'ro,norecovery' },
    {
      name: 'ext4-gpt',
      image: await makeGptImage(join(folder, 'ext4-gpt'), ext4),
      type: 'ext4',
      options: 'ro,noload',
    },
    {
      name: 'xfs-gpt',
      image: await makeGptImage(join(folder, 'xfs-gpt'), xfs),
      type: 'xfs',
      options: 'ro,norecovery',
    },
  ];
  const emulator = join(folder, 'emulator');
  const exports: string[] = [];
  for (const { name, image } of disks) {
    exports.push(`${name}=${await importImage(t, emulator, image.path)}`);
  }
  const served = await serve(t, { exports, emulator });

  const share = join(folder, 'share');
  mkdirSync(share);
  const looks = disks.map(
    ({ name, image, type, options }, index) =>
      `look "\${devices[${index}]}" ${image.partition ?? '-'} ${type} ${options} ${name}`,
  );
  const outcome = await runOnKernel({
    uris: disks.map(({ name }, index) => (index % 2 === 0 ? served.unix(name) : served.tcp(name))),
    options: ['--share', share],
    script: `${LOOK}\n${looks.join('\n')}`,
  });
  t.equal(outcome.status, 0, 'the script ended well', { output: outcome.stdout + outcome.stderr });

  for (const { name, image } of disks) {
    const found = (what: string): string => readFileSync(join(share, `${name}.${what}`), 'utf8');
    t.equal(found('device'), `${paddedBytes(image.sizeBytes)}\n1\n`, `${name}: size, and read-only`);
    t.equal(found('sums'), tree.sums, `${name}: every file`);
    t.equal(found('links'), tree.links, `${name}: every symbolic link`);
  }

  // Once more over several connections and with larger sectors, and the disk as a whole; and by "snapnbd mount" there.
  const gpt = disks[2]?.image.path ?? '';
  const mountArgs = [
    ...['mount', await importImage(t, join(share, 'emulator'), gpt), '/mnt/d'],
    ...['--partition', 'label-of-ext4', '--emulator', '$SHARE/emulator', '--state-dir', '/run/state'],
  ];
  const parallel = await runOnKernel({
    uris: [served.unix('ext4')],
    options: ['--share', share, '--client-options', '-C 4 -b 4096'],
    script: `
      blockdev --getss $NBD_DEVICE; head -c ${ext4.sizeBytes} $NBD_DEVICE | sha256sum
      busybox ifconfig lo 127.0.0.1 up
      snapnbd() { NODE_OPTIONS= '${process.execPath}' '${compiledMain()}' "$@"; }
      left() { ls /run/state/mounts "$TMPDIR"; ls -d /sys/block/nbd*/pid; }
      mkdir /mnt/d
      rm -f "$TMPDIR"/*.log
      mkfifo /run/never
      exec 9<>/run/never
      snapnbd ${mountArgs.join(' ')} & killed=$!
      until [ -e /sys/block/nbd1/pid ]; do read -rt 0.05 -u 9 || true; done
      kill -KILL $(pgrep -P $killed) $killed
      # As a program of the killed mount may: it has the device open for some time after nbd-client has gone.
      (while pgrep -ax nbd-client | grep -q /dev/nbd1; do sleep 0.1; done; sleep 1) </dev/nbd1 &
      snapnbd umount /mnt/d --state-dir /run/state; left
      snapnbd ${mountArgs.join(' ')}
      grep -o '^/dev/.* /mnt/d ext4 ro,' /proc/mounts
      (cd /mnt/d; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$SHARE/mounted.sums"
      kill -KILL $(pgrep -x nbd-client)
      snapnbd umount /mnt/d --state-dir /run/state; left`,
  });
  const nothingLeft = `/run/state/mounts:\n\n/run/tmp:\n/sys/block/nbd0/pid\n`;
  t.equal(
    parallel.stdout,
    [
      `4096\n${digestOf(readFileSync(ext4.path))}  -\n`,
      ...[
        nothingLeft,
        '/mnt/d: ext4 of partition 2, read-only\n',
        '/dev/nbd1p2 /mnt/d ext4 ro,\n',
        nothingLeft,
      ],
    ].join(''),
    'the whole disk; mounted on the next free device, and unmounted after mount and nbd-client were killed',
    { stderr: parallel.stderr },
  );
  t.equal(readFileSync(join(share, 'mounted.sums'), 'utf8'), tree.sums, 'every file of the mount');
});
