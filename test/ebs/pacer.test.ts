import t from 'tap';
import { InFlightWindow } from '../../src/ebs/in-flight-window.js';
import { Pacer } from '../../src/ebs/pacer.js';

const LATENCY_MS = 30;
/** How long a refused call is left alone, and how long a refusal takes. */
const BACKOFF_MS = 60;

interface Outcome {
  readonly perSecond: number;
  readonly throttledShare: number;
  readonly window: number;
}

/** A reader that always wants more, and a service with a quota; time is a number. */
function simulate(
  quotaAt: (ms: number) => number,
  durationMs: number,
  options: {
    ceiling?: number;
    skipMs?: number;
    burstSeconds?: number;
    isAway?: (ms: number) => boolean;
  } = {},
): Outcome {
  const pacer = new Pacer(options.ceiling);
  const window = new InFlightWindow(64);
  const events: { atMs: number; run: () => void }[] = [];
  const at = (atMs: number, run: () => void): void => {
    let index = events.length;
    while (index > 0 && events[index - 1]!.atMs > atMs) index -= 1;
    events.splice(index, 0, { atMs, run });
  };
  let nowMs = 0;
  const { burstSeconds = 0.1, isAway = (): boolean => false } = options;
  let tokens = quotaAt(0) * burstSeconds;
  let filledMs = 0;
  let inFlight = 0;
  let done = 0;
  let throttled = 0;
  const admit = (): boolean => {
    const quota = quotaAt(nowMs);
    tokens = Math.min(quota * burstSeconds, tokens + ((nowMs - filledMs) / 1000) * quota);
    filledMs = nowMs;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
  const isCounted = (): boolean => nowMs >= (options.skipMs ?? 0);
  /** When the reader comes to do what was due then. */
  const present = (ms: number): number => {
    let atMs = ms;
    while (isAway(atMs)) atMs = Math.floor(atMs) + 1;
    return atMs;
  };
  const attempt = (): void => {
    at(present(nowMs + Math.max(0, pacer.delayMs(nowMs))), () => {
      const ok = admit();
      at(present(nowMs + LATENCY_MS), () => {
        if (ok) {
          pacer.succeeded(nowMs);
          window.answered(nowMs, LATENCY_MS, true);
          inFlight -= 1;
          if (isCounted()) done += 1;
        } else {
          pacer.throttled(nowMs);
          if (isCounted()) throttled += 1;
          at(nowMs + BACKOFF_MS, attempt);
        }
      });
    });
  };
  const fill = (): void => {
    while (inFlight < window.size(pacer.rate(nowMs))) {
      inFlight += 1;
      attempt();
    }
  };
  fill();
  while (events.length > 0 && events[0]!.atMs < durationMs) {
    const event = events.shift()!;
    nowMs = event.atMs;
    event.run();
    fill();
  }
  const seconds = (durationMs - (options.skipMs ?? 0)) / 1000;
  return {
    perSecond: done / seconds,
    throttledShare: throttled / (done + throttled),
    window: window.size(pacer.rate(nowMs)),
  };
}

// Of the lowest one the first second's refusals are more of all calls; of the highest one the rise of calls in flight is lost.
for (const [quota, part, refusedMax] of [
  [50, 0.97, 0.02],
  [200, 0.98, 0.01],
  [500, 0.98, 0.01],
  [1000, 0.97, 0.01],
] as const) {
  t.test(`[ebs: Quotas] ${quota}/s: nearly all of it, and hardly a refused call`, async (t) => {
    const { perSecond, throttledShare } = simulate(() => quota, 40_000);
    t.ok(perSecond >= part * quota, `${perSecond.toFixed(1)} from the start`);
    t.ok(throttledShare < refusedMax, `${(100 * throttledShare).toFixed(2)} % refused`);
    t.ok(perSecond <= quota * 1.02);
  });
}

t.test('a reader that is held up again and again, as by a busy machine, still finds the quota', async (t) => {
  const often = simulate(() => 500, 40_000, { isAway: (ms) => ms % 300 < 50 });
  t.ok(often.perSecond >= 480, `${often.perSecond.toFixed(1)} of 500`);
  t.ok(often.throttledShare < 0.02, `${(100 * often.throttledShare).toFixed(2)} % refused`);
  // What is not asked for in a second that the reader is away from is lost, but for the burst.
  const long = simulate(() => 200, 40_000, { isAway: (ms) => ms % 2000 < 300 });
  t.ok(long.perSecond >= 0.9 * 200 * 0.85, `${long.perSecond.toFixed(1)} of 170 to 180`);
  const slowStart = simulate(() => 200, 10_000, { isAway: (ms) => ms < 2000 && ms % 100 < 70 });
  t.ok(slowStart.perSecond >= 170, `${slowStart.perSecond.toFixed(1)} of 200 after a slow start`);
});

t.test('a service that has saved up seconds of calls tells its quota all the same', async (t) => {
  const { perSecond } = simulate(() => 200, 40_000, { burstSeconds: 5, skipMs: 10_000 });
  t.ok(perSecond >= 180 && perSecond <= 202, `${perSecond.toFixed(1)} of 200`);
});

t.test('a quota that shrinks, and grows again', async (t) => {
  const shrunk = simulate((ms) => (ms < 20_000 ? 500 : 100), 60_000, { skipMs: 25_000 });
  t.ok(shrunk.perSecond >= 95, `${shrunk.perSecond.toFixed(1)} of 100`);
  t.ok(shrunk.throttledShare < 0.02, `${(100 * shrunk.throttledShare).toFixed(2)} % refused`);
  const grown = simulate((ms) => (ms < 20_000 ? 100 : 500), 100_000, { skipMs: 60_000 });
  t.ok(grown.perSecond >= 450, `${grown.perSecond.toFixed(1)} of 500`);
});

t.test('a ceiling is never exceeded, whatever the quota', async (t) => {
  const { perSecond, throttledShare } = simulate(() => 1000, 20_000, { ceiling: 150 });
  t.ok(perSecond > 147 && perSecond <= 151, perSecond.toFixed(1));
  t.equal(throttledShare, 0);
});

t.test('before anything was refused nobody waits', async (t) => {
  const pacer = new Pacer();
  for (let call = 0; call < 100; call += 1) {
    t.equal(pacer.delayMs(call), 0);
    pacer.succeeded(call + 1);
  }
  t.equal(pacer.rate(100), Number.POSITIVE_INFINITY);
});

t.test('one refusal out of a quiet time does not slow down for long', async (t) => {
  const pacer = new Pacer();
  for (let ms = 0; ms < 2000; ms += 2) pacer.succeeded(ms);
  pacer.throttled(2000);
  const first = pacer.rate(2000);
  t.ok(first > 300 && first < 500, first.toFixed(0));
  // Hardly anything is asked for, and that is refused again and again, as others use the quota.
  for (let ms = 60_000; ms < 62_000; ms += 500) pacer.throttled(ms);
  t.ok(pacer.rate(62_000) >= 60, pacer.rate(62_000).toFixed(0));
  t.equal(pacer.rate(600_000), Number.POSITIVE_INFINITY, 'and in the end it is forgotten');
});

t.test('calls in flight rise while they bring more, and no further', async (t) => {
  // Eight calls at once are served, the others wait for them.
  const served = (max: number, atOnce: number): number => {
    const window = new InFlightWindow(max);
    let nowMs = 0;
    let total = 0;
    for (let round = 0; round < 20_000; round += 1) {
      const size = window.size(Number.POSITIVE_INFINITY);
      nowMs += Math.max(LATENCY_MS / size, LATENCY_MS / atOnce);
      window.answered(nowMs, LATENCY_MS * Math.max(1, size / atOnce), true);
      if (round >= 10_000) total += size;
    }
    // Trying more from time to time is part of it.
    return total / 10_000;
  };
  t.ok(served(64, 1000) > 63, 'up to the bound');
  t.ok(served(64, 20) <= 42, `${served(64, 20).toFixed(1)} where 20 are served at once`);
  t.ok(served(64, 20) >= 18);
  t.equal(served(4, 1000), 4);
  const idle = new InFlightWindow(64);
  for (let ms = 0; ms < 10_000; ms += 1) idle.answered(ms, 30, false);
  t.equal(idle.size(Number.POSITIVE_INFINITY), 8, 'not for those who do not ask for more');
});
