// A real kernel writes file systems on forks and on a blank disk; what is committed is what it wrote.
import { closeSync, mkdirSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import { writeFileTree } from '../fixtures/file-tree.js';
import { makeExt4Image, makeXfsImage } from '../fixtures/images.js';
import { runOnKernel } from '../fixtures/kernel.js';
import { needsKernelNbd, needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { importImage, serve, snapshotIdFrom } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const BLOCK_BYTES = 524_288;

/** On the kernel: adds, changes and removes files, trims, and finds what it left when it mounts again. */
const USE = `
use() {
  if [ "$3" = new ]; then mkfs.ext4 -q "$1"; fi
  mount "$1" /mnt
  cp -a "$TREE/many" /mnt/added
  mkdir -p /mnt/many
  cp "$TREE/large.bin" /mnt/many/7
  rm -rf /mnt/sparse /mnt/sizes
  sync
  fstrim /mnt
  (cd /mnt && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$SHARE/$2.written"
  umount /mnt
  echo 3 >/proc/sys/vm/drop_caches
  mount -o ro "$1" /mnt
  (cd /mnt && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$SHARE/$2.read"
  umount /mnt
}
read -ra devices <<<"$NBD_DEVICES"
use "\${devices[0]}" ext4 old; use "\${devices[1]}" xfs old; use "\${devices[2]}" blank new
`;

const needs = {
  ...needsPrograms('mke2fs', 'mkfs.xfs', 'xfs_repair', 'fstrim', 'nbdcopy', 'qemu-img'),
  ...needsKernelNbd(),
};

t.test(
  'file systems on forks are changed, committed, and the same in the new snapshots',
  needs,
  async (t) => {
    const folder = workFolder(t);
    const tree = writeFileTree(join(folder, 'tree'), 'fork-kernel');
    const store = join(folder, 'emulator');
    const ext4 = await importImage(t, store, (await makeExt4Image(join(folder, 'i'), tree.folder)).path);
    const xfs = await importImage(t, store, (await makeXfsImage(join(folder, 'j'), tree.folder)).path);
    const emulator = await startEmulator(t, store);
    const state = ['--state-dir', join(folder, 'state')];
    const options = [...state, '--endpoint-url', emulator.url];
    const exports = [`ext4=fork:${ext4}`, `xfs=fork:${xfs}`, 'blank=blank:1GiB'];
    const served = await serve(t, { exports, options, env: CREDENTIALS });
    const share = join(folder, 'share');
    mkdirSync(share);
    const outcome = await runOnKernel({
      uris: [served.unix('ext4'), served.tcp('xfs'), served.unix('blank')],
      options: ['--share', share, '--client-options', '-C 2'],
      script: `TREE=${tree.folder}\n${USE}`,
    });
    t.equal(outcome.status, 0, 'the script ended well', { output: outcome.stdout + outcome.stderr });

    const committed: string[] = [];
    for (const name of ['ext4', 'xfs', 'blank']) {
      const text = (what: string): string => readFileSync(join(share, `${name}.${what}`), 'utf8');
      t.match(text('written'), /\.\/added\/299\n/);
      t.equal(text('read'), text('written'), `${name}: file by file`);
      const snapshotId = await snapshotIdFrom(t, ['commit', name, ...state]);
      committed.push(snapshotId);
      const { puts = 0, distinctBlocksPut } = (await emulator.stats()).snapshots[snapshotId] ?? {};
      t.equal(puts, distinctBlocksPut, `${name}: no block is put twice`);
      const image = join(folder, `${name}.after`);
      const before = join(folder, name === 'ext4' ? 'i' : name === 'xfs' ? 'j' : 'nothing');
      if (name === 'blank') writeFileSync(before, '');
      await mustRun('nbdcopy', [served.unix(name), image]);
      const changed = differingBlocks(before, image);
      t.ok(puts >= changed && puts < changed + 40, `${name}: ${puts} puts, ${changed} blocks differ`);
    }
    await served.process.stop();

    const again = await serve(t, { exports: committed, options, env: CREDENTIALS });
    for (const [index, name] of ['ext4', 'xfs', 'blank'].entries()) {
      const image = join(folder, `${name}.after`);
      const uri = again.unix(committed[index] ?? '');
      await mustRun('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri]);
      if (name === 'xfs') await mustRun('xfs_repair', ['-n', '-f', image]);
      else await mustRun('e2fsck', ['-fn', image]);
    }
  },
);

/** Blocks in which two images differ, where what is missing at the end is zeros. */
function differingBlocks(onePath: string, otherPath: string): number {
  const fds = [openSync(onePath, 'r'), openSync(otherPath, 'r')] as const;
  const blockAt = (fd: number, position: number): Buffer => {
    const block = Buffer.alloc(BLOCK_BYTES);
    readSync(fd, block, 0, BLOCK_BYTES, position);
    return block;
  };
  let count = 0;
  for (let at = 0; at < statSync(otherPath).size; at += BLOCK_BYTES) {
    if (!blockAt(fds[0], at).equals(blockAt(fds[1], at))) count += 1;
  }
  for (const fd of fds) closeSync(fd);
  return count;
}
