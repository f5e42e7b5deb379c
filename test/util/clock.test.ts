import t from 'tap';
import { systemClock } from '../../src/util/clock.js';

t.test('sleep ends, and rejects with the reason of its signal', async (t) => {
  await systemClock.sleep(0);
  await t.rejects(systemClock.sleep(60_000, AbortSignal.abort(new Error('enough'))), { message: 'enough' });
  const controller = new AbortController();
  const sleeping = systemClock.sleep(60_000, controller.signal);
  controller.abort(new Error('later'));
  await t.rejects(sleeping, { message: 'later' });
});

t.test('a timer fires once, unless cancelled', async (t) => {
  let cancelledFired = false;
  systemClock.setTimer(0, () => (cancelledFired = true)).cancel();
  await new Promise<void>((resolve) => {
    systemClock.setTimer(1, resolve);
    // Timers of this clock do not keep a process alive; this test has to.
    setTimeout(() => undefined, 50);
  });
  t.notOk(cancelledFired);
  t.ok(systemClock.nowMs() >= 0);
  t.ok(systemClock.dateMs() > Date.UTC(2024, 0));
});
