import { systemClock, type Clock } from '../util/clock.js';
import type { Limiter } from '../util/limiter.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { attemptText, type CallSubject } from './error-text.js';
import { copyOfError, EbsError, EbsErrorKind, EbsOperation } from './errors.js';
import { NewSnapshots } from './new-snapshots.js';
import { OperationHealth } from './operation-health.js';
import { RetryEpisodes } from './retry-episodes.js';
import { DEFAULT_RETRY_POLICY, RetryBudget, type RetryPolicy } from './retry-policy.js';
import type {
  BlockPage,
  CallOptions,
  ChangedBlockPage,
  CompleteSnapshotRequest,
  GetSnapshotBlockRequest,
  ListChangedBlocksRequest,
  ListSnapshotBlocksRequest,
  PutSnapshotBlockRequest,
  ReceivedBlock,
  SnapshotApi,
  SnapshotStatus,
  StartedSnapshot,
  StartSnapshotRequest,
} from './snapshot-api.js';

/** Told about each try: for counting, and for whoever adapts the number of calls in flight. Must be quick. */
export interface RetryObserver {
  succeeded?(operation: EbsOperation): void;
  failed?(operation: EbsOperation, error: EbsError): void;
  /** A call waits for another try. Each call of this is followed by one of `waited`. */
  waits?(error: EbsError): void;
  waited?(error: EbsError): void;
}

/** What retrying needs from outside. */
export interface RetryContext {
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** From 0 to 1; spreads the tries of many calls. Default: Math.random. */
  readonly random?: () => number;
  readonly observer?: RetryObserver;
  /** Where calls of GetSnapshotBlock have their places: those that wait because their snapshot is throttled lend them. */
  readonly getLimiter?: Limiter;
}

/**
 * Adds the one retry policy to a {@link SnapshotApi} that makes single tries. Which errors are retried is their own
 * `retryable` and `throttled`; in between is exponential back-off with full jitter; tries and time are bounded. The
 * last error comes out, with how many tries it took in how long. Waiting ends when the caller's signal aborts.
 *
 * Written out rather than taken from a package: two budgets in one loop (throttling is waited for, failing is given
 * up), a bound that includes the time in queues, tries that are cut at that bound, and waiting on an injected clock
 * are all there is to it.
 *
 * @param policy overrides parts of {@link DEFAULT_RETRY_POLICY}.
 */
export function withRetry(
  api: SnapshotApi,
  policy: Partial<RetryPolicy> = {},
  context: RetryContext = {},
): SnapshotApi {
  return new RetryingSnapshotApi(api, { ...DEFAULT_RETRY_POLICY, ...policy }, context);
}

type RetrySubject = CallSubject & { readonly operation: EbsOperation };

class RetryingSnapshotApi implements SnapshotApi {
  readonly #api: SnapshotApi;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #observer: RetryObserver;
  readonly #getLimiter: Limiter | undefined;
  readonly #failing: RetryEpisodes;
  readonly #throttling: RetryEpisodes;
  readonly #health = new Map<EbsOperation, OperationHealth>();
  readonly #newSnapshots: NewSnapshots;

  constructor(api: SnapshotApi, policy: RetryPolicy, context: RetryContext) {
    this.#api = api;
    this.#policy = policy;
    this.#clock = context.clock ?? systemClock;
    this.#random = context.random ?? Math.random;
    this.#observer = context.observer ?? {};
    this.#getLimiter = context.getLimiter;
    this.#newSnapshots = new NewSnapshots(policy.newSnapshotGraceMs);
    const logger = context.logger ?? silentLogger;
    this.#failing = new RetryEpisodes('calls to the EBS direct APIs fail', logger, this.#clock);
    this.#throttling = new RetryEpisodes('the EBS direct APIs throttle', logger, this.#clock);
  }

  listSnapshotBlocks(request: ListSnapshotBlocksRequest, options?: CallOptions): Promise<BlockPage> {
    const subject = { operation: EbsOperation.ListSnapshotBlocks, snapshotId: request.snapshotId };
    return this.#run(subject, options, (bounds) => this.#api.listSnapshotBlocks(request, bounds));
  }

  listChangedBlocks(request: ListChangedBlocksRequest, options?: CallOptions): Promise<ChangedBlockPage> {
    const { firstSnapshotId: otherSnapshotId, secondSnapshotId: snapshotId } = request;
    const subject = { operation: EbsOperation.ListChangedBlocks, snapshotId, otherSnapshotId };
    return this.#run(subject, options, (bounds) => this.#api.listChangedBlocks(request, bounds));
  }

  getSnapshotBlock(request: GetSnapshotBlockRequest, options?: CallOptions): Promise<ReceivedBlock> {
    const { snapshotId, blockIndex } = request;
    const subject = { operation: EbsOperation.GetSnapshotBlock, snapshotId, blockIndex };
    return this.#run(subject, options, (bounds) => this.#api.getSnapshotBlock(request, bounds));
  }

  async startSnapshot(request: StartSnapshotRequest, options?: CallOptions): Promise<StartedSnapshot> {
    const subject = { operation: EbsOperation.StartSnapshot, otherSnapshotId: request.parentSnapshotId };
    const started = await this.#run(subject, options, (bounds) => this.#api.startSnapshot(request, bounds));
    this.#newSnapshots.add(started.snapshotId, this.#clock.nowMs());
    return started;
  }

  putSnapshotBlock(request: PutSnapshotBlockRequest, options?: CallOptions): Promise<void> {
    const { snapshotId, blockIndex } = request;
    const subject = { operation: EbsOperation.PutSnapshotBlock, snapshotId, blockIndex };
    return this.#run(subject, options, (bounds) => this.#api.putSnapshotBlock(request, bounds));
  }

  completeSnapshot(request: CompleteSnapshotRequest, options?: CallOptions): Promise<SnapshotStatus> {
    const subject = { operation: EbsOperation.CompleteSnapshot, snapshotId: request.snapshotId };
    return this.#run(subject, options, (bounds) => this.#api.completeSnapshot(request, bounds));
  }

  close(): void {
    this.#failing.close();
    this.#throttling.close();
    this.#api.close();
  }

  async #run<T>(
    subject: RetrySubject,
    options: CallOptions | undefined,
    call: (bounds: CallOptions) => Promise<T>,
  ): Promise<T> {
    const health = this.#healthOf(subject.operation);
    const budget = this.#budgetOf(subject, health, options);
    for (;;) {
      const remainingMs = budget.remainingMs(this.#clock.nowMs());
      const timeoutMs = Math.min(remainingMs, options?.timeoutMs ?? Number.POSITIVE_INFINITY);
      try {
        const answer = await call({ ...options, timeoutMs });
        health.works(this.#clock.nowMs());
        this.#observer.succeeded?.(subject.operation);
        return answer;
      } catch (error) {
        options?.signal?.throwIfAborted();
        if (!(error instanceof EbsError)) throw error;
        this.#observer.failed?.(subject.operation, error);
        await this.#waitAfter(error, subject, health, budget, options?.signal);
      }
    }
  }

  // [ebs: Retry] Waits before the next try, or throws when there is to be none.
  async #waitAfter(
    error: EbsError,
    subject: RetrySubject,
    health: OperationHealth,
    budget: RetryBudget,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const graceEndMs = error.kind === EbsErrorKind.NotFound ? this.#graceEndMs(subject) : undefined;
    const failed = error.retryable && !error.throttled;
    if (failed) health.fails(error);
    else health.works(nowMs);
    if (!error.retryable && graceEndMs === undefined) throw error;

    let delayMs: number | undefined;
    if (graceEndMs !== undefined) delayMs = budget.afterTooEarly(nowMs, this.#random(), graceEndMs);
    else if (error.throttled) delayMs = budget.afterThrottling(nowMs, this.#random());
    else delayMs = budget.afterFailure(nowMs, this.#random());
    if (delayMs === undefined) throw givenUp(error, budget, nowMs);

    const episodes = error.throttled ? this.#throttling : this.#failing;
    episodes.waits(error);
    this.#observer.waits?.(error);
    const isOwnTurn =
      error.kind === EbsErrorKind.ThrottledSnapshot && subject.operation === EbsOperation.GetSnapshotBlock;
    const takeBack = isOwnTurn ? this.#getLimiter?.lend(subject.snapshotId ?? '') : undefined;
    try {
      await this.#clock.sleep(delayMs, signal);
    } finally {
      takeBack?.();
      episodes.waited();
      this.#observer.waited?.(error);
    }
  }

  #healthOf(operation: EbsOperation): OperationHealth {
    const health = this.#health.get(operation) ?? new OperationHealth();
    this.#health.set(operation, health);
    return health;
  }

  #budgetOf(subject: RetrySubject, health: OperationHealth, options: CallOptions | undefined): RetryBudget {
    const startMs = this.#clock.nowMs();
    const totalMs = options?.retryTotalMs ?? this.#policy.retryTotalMs;
    const askedMs = options?.askedMs ?? startMs;
    const deadlineMs = health.deadlineMs(startMs, askedMs, totalMs);
    if (health.failure === undefined || startMs < deadlineMs) {
      return new RetryBudget(this.#policy, startMs, totalMs, deadlineMs);
    }
    const waited = `it waited ${seconds(startMs - askedMs)} behind calls that failed`;
    throw copyOfError(health.failure, `Cannot ${attemptText(subject)}: ${waited}. ${health.failure.message}`);
  }

  #graceEndMs(subject: RetrySubject): number | undefined {
    const isPut = subject.operation === EbsOperation.PutSnapshotBlock;
    return isPut ? this.#newSnapshots.graceEndMs(subject.snapshotId ?? '') : undefined;
  }
}

function givenUp(error: EbsError, budget: RetryBudget, nowMs: number): EbsError {
  const tries = `${budget.triesCount} ${budget.triesCount === 1 ? 'try' : 'tries'}`;
  return copyOfError(
    error,
    `${error.message} (Given up after ${tries} in ${seconds(budget.elapsedMs(nowMs))}.)`,
  );
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}
