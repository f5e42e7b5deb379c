// The kernel's driver with TLS, and with a server that is started anew under mounted file systems.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { writeFileTree } from '../fixtures/file-tree.js';
import { makeExt4Image } from '../fixtures/images.js';
import { runOnKernel } from '../fixtures/kernel.js';
import { needsKernelNbd, needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { environment } from '../fixtures/run-program.js';
import { importImage, serve, type Served } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const CERTIFICATES = join(import.meta.dirname, '../fixtures/tls');
const certificate = (name: string): string => join(CERTIFICATES, `${name}.pem`);

/** Waits for a file that somebody is about to make. */
async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
}

t.test('nbd-client attaches a disk by TLS', needsKernelNbd(), async (t) => {
  const served = await serve(t, {
    exports: ['disk=memory:16MiB'],
    options: [
      ...['--tls', 'require', '--tls-ca', certificate('ca-cert')],
      ...['--tls-cert', certificate('server-cert'), '--tls-key', certificate('server-key')],
    ],
  });
  const files = `-cacertfile ${certificate('ca-cert')} -certfile ${certificate('client-cert')}`;
  const keys = `-keyfile ${certificate('client-key')} -tlshostname localhost`;
  const outcome = await runOnKernel({
    uris: [served.tcp('disk').replace('nbds', 'nbd')],
    options: ['--client-options', `-nonetlink -b 512 -enable-tls ${files} ${keys}`],
    script: `
      blockdev --getss $NBD_DEVICE
      mkfs.ext4 -q $NBD_DEVICE; mount $NBD_DEVICE /mnt; cp /bin/bash /mnt; umount /mnt
      mount -o ro $NBD_DEVICE /mnt; cmp /bin/bash /mnt/bash && echo same; umount /mnt`,
  });
  t.match(outcome, { status: 0, stdout: '512\nsame\n' }, 'written and read', { stderr: outcome.stderr });
});

/** Puts nbdkit in front of an export, which connects again whenever the server has gone. @returns its URI. */
async function putRetryBefore(t: Test, socket: string, exportName: string): Promise<string> {
  const folder = workFolder(t);
  const [front, pidFile] = [join(folder, 's'), join(folder, 'pid')];
  const child = spawn(
    'nbdkit',
    [
      // With several threads Debian 12's nbdkit ends when a client vanishes.
      ...['-f', '-t', '1', '-P', pidFile, '-U', front, '--filter=retry', 'nbd', `socket=${socket}`],
      ...[`export=${exportName}`, 'retries=120', 'retry-delay=1', 'retry-exponential=no'],
    ],
    { env: environment(), stdio: ['ignore', 'ignore', 'inherit'] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  await appears(pidFile);
  return `nbd+unix:///?socket=${front}`;
}

const SUMS = `(cd "$1" && find . -type f ! -name new -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)`;

t.test(
  "file systems of the kernel outlive the server, behind nbdkit's retry filter",
  { ...needsPrograms('nbdkit', 'mke2fs'), ...needsKernelNbd() },
  async (t) => {
    const folder = workFolder(t);
    const tree = writeFileTree(join(folder, 'tree'), 'kernel-more');
    const image = await makeExt4Image(join(folder, 'image'), tree.folder);
    const emulator = join(folder, 'emulator');
    const snapshotId = await importImage(t, emulator, image.path);
    const [socket, share] = [join(folder, 's'), join(folder, 'share')];
    mkdirSync(share);
    const state = ['--state-dir', join(folder, 'state'), '--listen', `unix:${socket}`];
    const start = (): Promise<Served> =>
      serve(t, { exports: [`root=${snapshotId}`, `fork=fork:${snapshotId}`], emulator, options: state });
    let served = await start();

    const onKernel = runOnKernel({
      uris: [await putRetryBefore(t, socket, 'root'), await putRetryBefore(t, socket, 'fork')],
      options: ['--share', share],
      script: `
        sums() { ${SUMS}; }
        gone() { touch "$SHARE/$1.ready"; until [ -e "$SHARE/$1.gone" ]; do sleep 0.05; done; }
        read -ra devices <<<"$NBD_DEVICES"
        mkdir /mnt/root /mnt/fork
        mount -o ro,noload "\${devices[0]}" /mnt/root
        mount "\${devices[1]}" /mnt/fork
        head -c 1000000 /bin/bash >/mnt/fork/new
        for signal in SIGTERM SIGKILL; do
          sync
          echo 3 >/proc/sys/vm/drop_caches
          gone $signal
          sums /mnt/root
          if [ $signal = SIGTERM ]; then cat /bin/bash >>/mnt/fork/new; sums /mnt/fork; fi
        done
        (head -c 1000000 /bin/bash; cat /bin/bash) | cmp - /mnt/fork/new
        umount /mnt/root /mnt/fork
        e2fsck -fn "\${devices[1]}" >&2`,
    });
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await Promise.race([appears(join(share, `${signal}.ready`)), onKernel]);
      await served.process.stop(signal);
      writeFileSync(join(share, `${signal}.gone`), '');
      served = await start();
    }
    const outcome = await onKernel;
    t.equal(outcome.status, 0, 'no read and no write has failed', { stderr: outcome.stderr });
    t.equal(outcome.stdout, tree.sums.repeat(3), 'every file, each time');
  },
);
