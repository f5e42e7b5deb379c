import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runOnKernel } from '../fixtures/kernel.js';
import { KERNEL_NBD, needsKernelNbd, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { runProgram } from '../fixtures/run-program.js';
import { serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

t.test('scripts/kernel-nbd', needsKernelNbd(), async (t) => {
  const served = await serve(t, { exports: ['one=memory:64MiB', 'two=memory:33MiB'] });
  const uris = [served.unix('one'), served.tcp('two')];

  await t.test('attaches several exports, passes on output and exit status, shares a folder', async (t) => {
    const share = join(workFolder(t), 'a folder, shared');
    mkdirSync(share);
    const outcome = await runOnKernel({
      uris,
      options: ['--share', share],
      script: 'blockdev --getsize64 $NBD_DEVICES; echo aside >&2; echo kept >"$SHARE/file"; exit 42',
    });
    const sizes = `${64 * 2 ** 20}\n${33 * 2 ** 20}\n`;
    t.match(outcome, { status: 42, stdout: sizes, stderr: /^aside$/m });
    t.equal(readFileSync(join(share, 'file'), 'utf8'), 'kept\n');
  });

  await t.test("uses the host's kernel where that has the driver: tried inside of the guest", async (t) => {
    // The command disconnects the guest's first device and runs this program once more, as if the guest were a host.
    const inner = `'${KERNEL_NBD}' --backend host nbd://$NBD_HOST:$NBD_PORT/one`;
    const outcome = await runOnKernel({
      uris: [served.tcp('one')],
      script: `
        nbd-client -d $NBD_DEVICE >/dev/null
        ${inner} -- bash -c 'blockdev --getsize64 $NBD_DEVICE; exit 3' || echo "status $?"
        ${inner} -- sleep 1000 & killed=$!
        until [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
        kill -KILL $killed
        while [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
        echo let go`,
    });
    t.match(
      outcome,
      { status: 0, stdout: `${64 * 2 ** 20}\nstatus 3\nlet go\n` },
      'attached, passed on, let go',
      {
        stderr: outcome.stderr,
      },
    );
  });

  await t.test('says what went wrong, each thing with its exit status', async (t) => {
    const run = (args: readonly string[]): ReturnType<typeof runProgram> => runProgram(KERNEL_NBD, args);
    t.match(await run([`nbd://127.0.0.1:${served.port}/no-such`, '--', 'true']), {
      status: 126,
      stderr: /could not attach export "no-such"/,
    });
    t.match(await run(['--timeout', '3', uris[0]!, '--', 'sleep', '1000']), {
      status: 124,
      stderr: 'kernel-nbd: timed out after 3 s\n',
    });
    const crash = ['bash', '-c', 'echo c >/proc/sysrq-trigger'];
    t.match(await run([uris[0]!, '--', ...crash]), { status: 125, stderr: /died without a status/ });
    t.match(await run(['http://127.0.0.1/', '--', 'true']), { status: 2, stderr: /cannot use/ });
    t.match(await run(['--nonsense']), { status: 2, stderr: /unknown option --nonsense/ });
    t.match(await run([uris[0]!]), { status: 2, stderr: /no command/ });
  });

  await t.test('takes everything along when it is killed outright', async (t) => {
    const child = spawn(KERNEL_NBD, [uris[0]!, '--', 'bash', '-c', 'echo up; sleep 1000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'close'); // comes when no process has the pipe open any more
    t.pass('nothing is left of it');
  });
});
