import type { Clock } from '../util/clock.js';
import type { Limiter } from '../util/limiter.js';
import { EbsError, EbsErrorKind } from './errors.js';
import { InFlightWindow } from './in-flight-window.js';
import { Pacer } from './pacer.js';
import type { CallOptions, SnapshotApi } from './snapshot-api.js';

/** What bounds one kind of block call. */
export interface FlowBounds {
  /**
   * Its bound is moved, between 1 and what it is at the beginning; and a snapshot that is throttled gets one of its own,
   * as the group of its name.
   */
  readonly limiter: Limiter;
  /** Calls a second, at most, of this process. Default: what the account allows. */
  readonly perSecond?: number | undefined;
}

/** Snapshots that are paced apart at the same time; those that are used least recently begin anew. */
const SNAPSHOTS_MAX = 1024;

/**
 * Finds the level of GetSnapshotBlock and PutSnapshotBlock: as many calls in flight as bring more, and no faster than the
 * quotas of the account and of each snapshot. Goes below the retrying: every try takes its turn.
 */
export function withFlowControl(
  api: SnapshotApi,
  { gets, puts, clock }: { readonly gets: FlowBounds; readonly puts: FlowBounds; readonly clock: Clock },
): SnapshotApi {
  const getFlow = new Flow(gets, clock);
  const putFlow = new Flow(puts, clock);
  return {
    listSnapshotBlocks: (request, options) => api.listSnapshotBlocks(request, options),
    listChangedBlocks: (request, options) => api.listChangedBlocks(request, options),
    getSnapshotBlock: (request, options) =>
      getFlow.run(request.snapshotId, options, () => api.getSnapshotBlock(request, options)),
    startSnapshot: (request, options) => api.startSnapshot(request, options),
    putSnapshotBlock: (request, options) =>
      putFlow.run(request.snapshotId, options, () => api.putSnapshotBlock(request, options)),
    completeSnapshot: (request, options) => api.completeSnapshot(request, options),
    close: () => api.close(),
  };
}

/** One kind of call: its pacers, and how many are under way. */
class Flow {
  readonly #limiter: Limiter;
  readonly #clock: Clock;
  readonly #window: InFlightWindow;
  readonly #account: Pacer;
  /** By snapshot, the one that was used least recently first. */
  readonly #snapshots = new Map<string, Pacer>();

  constructor({ limiter, perSecond }: FlowBounds, clock: Clock) {
    this.#limiter = limiter;
    this.#clock = clock;
    this.#window = new InFlightWindow(limiter.inFlightMax);
    this.#account = new Pacer(perSecond);
    limiter.inFlightMax = this.#window.size(Number.POSITIVE_INFINITY);
  }

  async run<T>(snapshotId: string, options: CallOptions | undefined, call: () => Promise<T>): Promise<T> {
    const snapshot = this.#pacerOf(snapshotId);
    const startMs = this.#clock.nowMs();
    const accountDelayMs = this.#account.delayMs(startMs);
    const delayMs = Math.max(accountDelayMs, snapshot.delayMs(startMs));
    // Timers are no finer than this; what is early now is late another time.
    if (delayMs >= 1) {
      // While it is the snapshot whose turn has not come, calls for others need not wait for it.
      const lender = delayMs > accountDelayMs ? snapshotId : undefined;
      await this.#wait(delayMs, lender, options?.signal);
    }
    const sentMs = delayMs >= 1 ? this.#clock.nowMs() : startMs;
    try {
      const answer = await call();
      const nowMs = this.#clock.nowMs();
      this.#account.succeeded(nowMs);
      snapshot.succeeded(nowMs);
      const { inFlightCount, inFlightMax, waitingCount } = this.#limiter;
      this.#window.answered(nowMs, nowMs - sentMs, waitingCount > 0 && inFlightCount >= inFlightMax);
      this.#resize(nowMs, snapshotId, snapshot);
      return answer;
    } catch (error) {
      if (error instanceof EbsError && error.throttled) {
        const nowMs = this.#clock.nowMs();
        (error.kind === EbsErrorKind.ThrottledSnapshot ? snapshot : this.#account).throttled(nowMs);
        this.#resize(nowMs, snapshotId, snapshot);
      }
      throw error;
    }
  }

  async #wait(delayMs: number, lender: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    const takeBack = lender === undefined ? undefined : this.#limiter.lend(lender);
    try {
      await this.#clock.sleep(delayMs, signal);
    } finally {
      takeBack?.();
    }
  }

  #resize(nowMs: number, snapshotId: string, snapshot: Pacer): void {
    const own = snapshot.rate(nowMs);
    // Where several snapshots are read, one of them that is slow must not hold the others up.
    const all = this.#snapshots.size === 1 ? own : Number.POSITIVE_INFINITY;
    const size = this.#window.size(Math.min(this.#account.rate(nowMs), all));
    if (size !== this.#limiter.inFlightMax) this.#limiter.inFlightMax = size;
    // One that was forgotten while its call was under way would keep its bound for ever.
    const isBound = own !== Number.POSITIVE_INFINITY && this.#snapshots.get(snapshotId) === snapshot;
    this.#limiter.boundGroup(snapshotId, isBound ? this.#window.size(own) : Number.POSITIVE_INFINITY);
  }

  #pacerOf(snapshotId: string): Pacer {
    const known = this.#snapshots.get(snapshotId);
    if (known !== undefined && this.#snapshots.size === 1) return known;
    const pacer = known ?? new Pacer();
    this.#snapshots.delete(snapshotId);
    const [oldest] = this.#snapshots.keys();
    if (oldest !== undefined && this.#snapshots.size >= SNAPSHOTS_MAX) {
      this.#snapshots.delete(oldest);
      this.#limiter.boundGroup(oldest, Number.POSITIVE_INFINITY);
    }
    this.#snapshots.set(snapshotId, pacer);
    return pacer;
  }
}
