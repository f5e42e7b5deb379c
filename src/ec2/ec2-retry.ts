import { DEFAULT_RETRY_POLICY, RetryBudget } from '../ebs/retry-policy.js';
import { EbsError } from '../ebs/errors.js';
import type { Clock } from '../util/clock.js';

/** How long and by which time calls are tried again. */
export interface Ec2RetryContext {
  /** As `retryTotalMs` of the EBS direct APIs, which throttling counts against as well: a person waits. */
  readonly retryTotalMs: number;
  readonly clock: Clock;
  /** From 0 to 1. Default: Math.random. */
  readonly random?: () => number;
}

/**
 * Tries a call again while its failure says that this may help.
 *
 * @throws the last failure, or the signal's reason.
 */
export async function retryEc2<T>(
  { retryTotalMs, clock, random = Math.random }: Ec2RetryContext,
  signal: AbortSignal | undefined,
  call: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  const startMs = clock.nowMs();
  const policy = { ...DEFAULT_RETRY_POLICY, throttleTotalMs: retryTotalMs };
  const budget = new RetryBudget(policy, startMs, retryTotalMs, startMs + retryTotalMs);
  for (;;) {
    try {
      return await call(Math.max(1, budget.remainingMs(clock.nowMs())));
    } catch (error) {
      if (!(error instanceof EbsError) || !error.retryable) throw error;
      const nowMs = clock.nowMs();
      const delayMs = error.throttled
        ? budget.afterThrottling(nowMs, random())
        : budget.afterFailure(nowMs, random());
      if (delayMs === undefined) throw error;
      await clock.sleep(delayMs, signal);
    }
  }
}
