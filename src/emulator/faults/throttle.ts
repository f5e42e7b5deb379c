import type { Clock } from '../../util/clock.js';
import { Reason, serviceError } from '../errors.js';
import { Operation } from '../routes.js';
import type { FaultSettings } from './settings.js';

/** How much of a second's requests may come at once. */
const BURST_SECONDS = 0.1;

/** Snapshots whose rate is watched at the same time. */
const SNAPSHOTS_MAX = 1024;

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
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws {ApiError} the throttling error when the request is one too many. */
  admit(operation: Operation, snapshotId: string, settings: FaultSettings): void {
    if (!this.#take(operation, settings[ACCOUNT_RATE[operation]])) {
      throw serviceError('ThrottlingException', 'Rate exceeded', Reason.AccountThrottled);
    }
    const snapshotRate =
      operation === Operation.GetSnapshotBlock
        ? settings.snapshotGetRate
        : operation === Operation.PutSnapshotBlock
          ? settings.snapshotPutRate
          : null;
    if (!this.#take(`${operation} ${snapshotId}`, snapshotRate)) {
      throw serviceError(
        'RequestThrottledException',
        `The request rate for snapshot '${snapshotId}' is too high.`,
        Reason.ResourceLevelThrottle,
      );
    }
  }

  #take(key: string, perSecond: number | null): boolean {
    if (perSecond === null) return true;
    let bucket = this.#buckets.get(key);
    if (bucket?.perSecond !== perSecond) {
      bucket = new TokenBucket(this.#clock, perSecond);
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined && this.#buckets.size >= SNAPSHOTS_MAX) this.#buckets.delete(oldest);
      this.#buckets.set(key, bucket);
    }
    return bucket.tryTake();
  }
}
