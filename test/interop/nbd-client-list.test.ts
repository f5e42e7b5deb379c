import t from 'tap';
import { connectAgent } from '../fixtures/nbd-agent.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { serve } from '../fixtures/serving.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

t.test('nbd-client -l lists the exports', needsPrograms('nbd-client'), async (t) => {
  const served = await serve(t, { exports: ['first=memory:1MiB', 'second-名前=memory:512'] });
  for (const where of [
    ['127.0.0.1', String(served.port)],
    ['-unix', served.socket],
  ]) {
    const list = await mustRun('nbd-client', ['-l', ...where]);
    t.match(list, /\nfirst(: .*)?\nsecond-名前(: .*)?\n/, where.join(' '));
  }
});

t.test(
  'one client too many is told why',
  { ...needsPrograms('qemu-img'), ...needsPython('nbd') },
  async (t) => {
    const served = await serve(t, { exports: ['disk=memory:1MiB'], options: ['--max-connections', '1'] });
    const agent = await connectAgent(t, served.tcp('disk'));
    const refused = await runProgram('qemu-img', ['info', served.unix('disk')]);
    t.match(refused, { status: 1, stderr: /the server already has 1 clients, as many as it takes/ });
    t.equal(await agent.disconnect(), 0);
    // Whoever comes next finds the place free, once the server has seen the end of the first.
    const next = 'until qemu-img info "$1" 2>/dev/null; do sleep 0.02; done';
    t.match(await mustRun('bash', ['-c', next, 'bash', served.unix('disk')]), /virtual size: 1 MiB/);
  },
);
