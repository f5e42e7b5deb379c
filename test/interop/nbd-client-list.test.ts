import t from 'tap';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
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
