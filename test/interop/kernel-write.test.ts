import { join } from 'node:path';
import t from 'tap';
import { writeFileTree } from '../fixtures/file-tree.js';
import { runOnKernel } from '../fixtures/kernel.js';
import { needsKernelNbd, needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** On the kernel: makes a file system, fills it from $TREE, empties a part, and finds the rest as it was written. */
const USE = `
use() {
  "mkfs.$2" -q "$1"
  mount "$1" /mnt
  cp -a "$TREE/." /mnt
  rm -r /mnt/sizes
  sync
  fstrim -v /mnt >&2
  cp -a "$TREE/sizes" /mnt
  umount /mnt
  case $2 in
    ext4) e2fsck -fn "$1" ;;
    xfs) xfs_repair -n "$1" ;;
  esac >&2
  echo 3 >/proc/sys/vm/drop_caches
  mount -o ro "$1" /mnt
  (cd /mnt && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
  umount /mnt
}
read -ra devices <<<"$NBD_DEVICES"
`;

const needs = { ...needsPrograms('mke2fs', 'mkfs.xfs', 'xfs_repair', 'fstrim'), ...needsKernelNbd() };

t.test(
  "the kernel's own nbd driver writes file systems to scratch disks, and trims them",
  needs,
  async (t) => {
    const tree = writeFileTree(join(workFolder(t), 'tree'), 'kernel-write');
    const served = await serve(t, { exports: ['ext4=memory:128MiB', 'xfs=memory:320MiB'] });
    const outcome = await runOnKernel({
      uris: [served.unix('ext4'), served.tcp('xfs')],
      options: ['--client-options', '-C 2'],
      script: `TREE=${tree.folder}\n${USE}\nuse "\${devices[0]}" ext4; use "\${devices[1]}" xfs`,
    });
    t.equal(outcome.status, 0, 'the program ended well', { stderr: outcome.stderr });
    t.equal(outcome.stdout, tree.sums + tree.sums, 'every file, on both');
    t.equal(outcome.stderr.match(/bytes\) trimmed/g)?.length, 2, 'both could be trimmed');
  },
);
