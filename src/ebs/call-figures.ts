import type { Clock } from '../util/clock.js';
import { LatencyHistogram } from '../util/latency-histogram.js';
import { EbsOperation, type EbsError, type EbsErrorKind } from './errors.js';
import type { RetryObserver } from './retry.js';
import type { SnapshotApi } from './snapshot-api.js';

/** A call that the service has not answered yet. */
export interface CallUnderWay {
  readonly operation: EbsOperation;
  readonly snapshotId: string | undefined;
  readonly blockIndex: number | undefined;
  /** By the clock of the program. */
  readonly startMs: number;
}

/** Calls that wait for another try, all for the same reason. */
export interface WaitingCalls {
  /** How many wait now. */
  count: number;
  /** How often one had to since the first of them began to. */
  retries: number;
  /** Since when there has been one, by the clock of the program. */
  sinceMs: number;
  lastError: EbsError | undefined;
}

/** What became of the calls of the EBS direct APIs: plain numbers, bumped in place. */
export class CallFigures implements RetryObserver {
  /** How long each try took, with whatever outcome. */
  readonly latency: Readonly<Record<EbsOperation, LatencyHistogram>> = Object.fromEntries(
    Object.values(EbsOperation).map((operation) => [operation, new LatencyHistogram()]),
  ) as Record<EbsOperation, LatencyHistogram>;
  /** Tries that failed, by kind of failure. */
  readonly failures = new Map<EbsErrorKind, number>();
  /** The one that was begun first is at the front. */
  readonly underWay = new Set<CallUnderWay>();
  /** Refused for the rate of calls. */
  readonly throttled: WaitingCalls = { count: 0, retries: 0, sinceMs: 0, lastError: undefined };
  /** Failed for other reasons. */
  readonly failing: WaitingCalls = { count: 0, retries: 0, sinceMs: 0, lastError: undefined };
  /** All tries after a first one. */
  retries = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  failed(_operation: EbsOperation, error: EbsError): void {
    this.failures.set(error.kind, (this.failures.get(error.kind) ?? 0) + 1);
  }

  waits(error: EbsError): void {
    const calls = error.throttled ? this.throttled : this.failing;
    if (calls.count === 0) {
      calls.sinceMs = this.#clock.nowMs();
      calls.retries = 0;
    }
    calls.count += 1;
    calls.retries += 1;
    calls.lastError = error;
    this.retries += 1;
  }

  waited(error: EbsError): void {
    (error.throttled ? this.throttled : this.failing).count -= 1;
  }

  /** Makes one try of a call. @throws what the call throws. */
  async run<T>(
    operation: EbsOperation,
    snapshotId: string | undefined,
    blockIndex: number | undefined,
    call: () => Promise<T>,
  ): Promise<T> {
    const entry = { operation, snapshotId, blockIndex, startMs: this.#clock.nowMs() };
    this.underWay.add(entry);
    try {
      return await call();
    } finally {
      this.underWay.delete(entry);
      this.latency[operation].add(this.#clock.nowMs() - entry.startMs);
    }
  }
}

/** Counts every try at the service, so it goes next to the client. */
export function withCallFigures(api: SnapshotApi, figures: CallFigures): SnapshotApi {
  return {
    listSnapshotBlocks: (request, options) =>
      figures.run(EbsOperation.ListSnapshotBlocks, request.snapshotId, undefined, () =>
        api.listSnapshotBlocks(request, options),
      ),
    listChangedBlocks: (request, options) =>
      figures.run(EbsOperation.ListChangedBlocks, request.secondSnapshotId, undefined, () =>
        api.listChangedBlocks(request, options),
      ),
    getSnapshotBlock: (request, options) =>
      figures.run(EbsOperation.GetSnapshotBlock, request.snapshotId, request.blockIndex, () =>
        api.getSnapshotBlock(request, options),
      ),
    startSnapshot: (request, options) =>
      figures.run(EbsOperation.StartSnapshot, undefined, undefined, () =>
        api.startSnapshot(request, options),
      ),
    putSnapshotBlock: (request, options) =>
      figures.run(EbsOperation.PutSnapshotBlock, request.snapshotId, request.blockIndex, () =>
        api.putSnapshotBlock(request, options),
      ),
    completeSnapshot: (request, options) =>
      figures.run(EbsOperation.CompleteSnapshot, request.snapshotId, undefined, () =>
        api.completeSnapshot(request, options),
      ),
    close: () => api.close(),
  };
}
