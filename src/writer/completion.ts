import { LIST_RESULTS_MIN } from '../ebs/constants.js';
import { EbsErrorKind, isEbsError } from '../ebs/errors.js';
import { SnapshotStatus, type SnapshotApi } from '../ebs/snapshot-api.js';
import { assert } from '../util/assert.js';
import type { Clock } from '../util/clock.js';
import { callPending, SnapshotLostError, type StartedSnapshotOf } from './pending-snapshot.js';
import { CommitError } from './staging-error.js';

/** Completion is asynchronous; large snapshots take minutes. */
const POLL_MS = 1000;
/** The first times it is asked sooner: small snapshots are there at once. */
const FIRST_POLL_MS = 50;
/** Each wait by so much longer than the one before: of the time that it takes, at most about a third is waited in vain. */
const POLL_GROWTH = 1.5;
const COMPLETE_MAX_MS = 6 * 3_600_000;
/** [ebs: Reading] Up to 55 s were seen between `completed` and the first List that succeeds. */
const READABLE_MAX_MS = 15 * 60_000;

/** What is waited for. */
export const CompletionStep = {
  /** AWS is making the snapshot. */
  Complete: 'complete',
  /** It is made, and will be readable soon. */
  Readable: 'readable',
} as const;
export type CompletionStep = (typeof CompletionStep)[keyof typeof CompletionStep];

/** What completing takes. */
export interface CompletionContext {
  /** Retrying. */
  readonly api: SnapshotApi;
  readonly clock: Clock;
  /** Called each time before the service is asked. @param blockCount what is in the snapshot. */
  readonly onStep: (step: CompletionStep, blockCount: number) => void;
  /** Called when CompleteSnapshot has taken the snapshot: from then on nothing can be lost. Default: nobody wants to know. */
  readonly isAccepted?: (snapshotId: string) => void;
}

/**
 * Completes a snapshot to which everything was put, and waits until it can be read. Can be done again.
 *
 * @throws {SnapshotLostError} when AWS does not accept it; {CommitError} when it takes too long; {EbsError}.
 */
export async function completeSnapshot(
  pending: StartedSnapshotOf,
  context: CompletionContext,
  signal: AbortSignal,
): Promise<void> {
  const { snapshotId, completing } = pending;
  assert(completing !== null, 'the count and the checksum are written down first');
  const { blockCount: changedBlocksCount, checksum } = completing;
  const { api, clock, isAccepted } = context;
  // [ebs: CompleteSnapshot] Asking again is a way of asking how far it is.
  await poll(CompletionStep.Complete, COMPLETE_MAX_MS, pending, context, signal, async () => {
    const status = await callPending(pending, clock, signal, () =>
      api.completeSnapshot({ snapshotId, changedBlocksCount, checksum }, { signal }),
    );
    if (status === SnapshotStatus.Error)
      throw new SnapshotLostError(`${snapshotId} ended in the state "error"`);
    isAccepted?.(snapshotId);
    return status === SnapshotStatus.Completed;
  });
  // [ebs: Reading] `completed` is not yet readable.
  await poll(CompletionStep.Readable, READABLE_MAX_MS, pending, context, signal, async () => {
    try {
      await api.listSnapshotBlocks({ snapshotId, resultsMax: LIST_RESULTS_MIN }, { signal });
      return true;
    } catch (error) {
      if (!isEbsError(error, EbsErrorKind.NotFound)) throw error;
      return false;
    }
  });
}

async function poll(
  step: CompletionStep,
  maxMs: number,
  { snapshotId, completing }: StartedSnapshotOf,
  { clock, onStep }: CompletionContext,
  signal: AbortSignal,
  isDone: () => Promise<boolean>,
): Promise<void> {
  const endMs = clock.nowMs() + maxMs;
  for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(POLL_MS, pauseMs * POLL_GROWTH)) {
    onStep(step, completing?.blockCount ?? 0);
    if (await isDone()) return;
    if (clock.nowMs() >= endMs) {
      throw new CommitError(
        `Cannot wait for ${snapshotId} any longer: everything is in it, and AWS has been at it for ${Math.round(maxMs / 60_000)} minutes. Run the same command again to wait on.`,
      );
    }
    await clock.sleep(pauseMs, signal);
  }
}
