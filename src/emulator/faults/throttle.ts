import type { Clock } from '../../util/clock.js';
import { Reason, serviceError } from '../errors.js';
import { Operation } from '../routes.js';
import type { FaultSettings } from './settings.js';

/** How much of a second's requests may come at once. */
const BURST_SECONDS = 0.1;

/** Snapshots whose rate is watched at the same time. */
const BUCKETS_MAX = 1024;

/** Lets through so many a second, and a tenth of that at once. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #capacity: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#capacity = Math.max(1, perSecond * BURST_SECONDS);
    this.#tokens = this.#capacity;
    this.#filledAtMs = clock.nowMs();
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  /** True when there was a token, which is then gone. */
  tryTake(): boolean {
    const nowMs = this.#clock.nowMs();
    const earned = ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#capacity, this.#tokens + earned);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

type RateName = 'getRate' | 'putRate' | 'listRate' | 'startRate' | 'completeRate';

const ACCOUNT_RATE: Readonly<Record<Operation, RateName>> = {
  [Operation.ListSnapshotBlocks]: 'listRate',
  [Operation.ListChangedBlocks]: 'listRate',
  [Operation.GetSnapshotBlock]: 'getRate',
  [Operation.StartSnapshot]: 'startRate',
  [Operation.PutSnapshotBlock]: 'putRate',
  [Operation.CompleteSnapshot]: 'completeRate',
};

/** The rates of the account and of each snapshot. [ebs: Quotas and prices] */
export class Throttle {
  readonly #clock: Clock;
  readonly #accountBuckets = new Map<string, TokenBucket>();
  readonly #snapshotBuckets = new Map<string, TokenBucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws {ApiError} the throttling error when the request is one too many. */
  admit(operation: Operation, snapshotId: string, settings: FaultSettings): void {
    if (!this.#take(this.#accountBuckets, operation, settings[ACCOUNT_RATE[operation]]))
      throw serviceError('ThrottlingException', 'Rate exceeded', Reason.AccountThrottled);
    const rate = snapshotRateOf(operation, settings);
    if (!this.#take(this.#snapshotBuckets, `${operation} ${snapshotId}`, rate)) {
      throw serviceError(
        'RequestThrottledException',
        `The request rate for snapshot '${snapshotId}' is too high.`,
        Reason.ResourceLevelThrottle,
      );
    }
  }

  #take(buckets: Map<string, TokenBucket>, key: string, perSecond: number | null): boolean {
    if (perSecond === null) return true;
    const known = buckets.get(key);
    buckets.delete(key);
    const bucket = known?.perSecond === perSecond ? known : new TokenBucket(this.#clock, perSecond);
    // The one that was used least recently makes room: it is full again, as a new one would be.
    const [oldest] = buckets.keys();
    if (oldest !== undefined && buckets.size >= BUCKETS_MAX) buckets.delete(oldest);
    buckets.set(key, bucket);
    return bucket.tryTake();
  }
}

function snapshotRateOf(operation: Operation, settings: FaultSettings): number | null {
  if (operation === Operation.GetSnapshotBlock) return settings.snapshotGetRate;
  if (operation === Operation.PutSnapshotBlock) return settings.snapshotPutRate;
  return null;
}
