import { messageOf } from '../util/errors.js';
import { SnapshotStatus } from '../ebs/snapshot-api.js';
import { completeSnapshot, type CompletionStep } from '../writer/completion.js';
import { SnapshotLostError, type StartedSnapshotOf } from '../writer/pending-snapshot.js';
import { CommitError } from '../writer/staging-error.js';
import type { SupplyItem } from './block-supply.js';
import { putBlocksOf } from './put-blocks.js';
import type { PutOptions } from './put-options.js';
import { newPutState, readPutState, type PutState } from './put-state.js';
import type { TransferCounts } from './transfer-progress.js';

/** How often everything is put anew into another snapshot before it is given up. */
const SNAPSHOTS_MAX = 3;

/** What came of it. */
export interface PutOutcome extends TransferCounts {
  readonly snapshotId: string;
  /** Blocks that are the snapshot's own, put by this run or an earlier one. */
  readonly blockCount: number;
  /** base64: the LINEAR checksum over them, which AWS has compared. */
  readonly checksum: string;
}

/**
 * Makes a snapshot of a disk, from wherever an earlier run broke off.
 *
 * @returns when it can be read.
 * @throws {CommitError}, {EbsError}, {EnvironmentError}: it can be run again; the signal's reason.
 */
export async function putSnapshot<Item extends SupplyItem>(
  options: PutOptions<Item>,
  signal: AbortSignal,
): Promise<PutOutcome> {
  const { journal, supply, volumeSizeGib, logger } = options;
  const counts: TransferCounts = { movedCount: 0, keptCount: 0, skippedCount: 0 };
  let state = readPutState(journal.state, volumeSizeGib) ?? (await begin(options));
  for (let attempt = 1; ; attempt += 1) {
    try {
      state = await ensureStarted(state, options, signal);
      if (state.pending.completing === null) {
        const completing = await putBlocksOf(options, startedOf(state), counts, signal);
        // [ebs: CompleteSnapshot] A wrong count or checksum ends in `error`, so nothing is put once these are written down.
        state = { ...state, pending: { ...state.pending, completing } };
        await journal.setState(state);
      }
      const pending = startedOf(state);
      const { snapshotId } = pending;
      const onStep = (step: CompletionStep, count: number): void =>
        options.onProgress({ step, snapshotId, doneCount: count, totalCount: count, movedCount: count });
      await completeSnapshot(pending, { ...options, onStep }, signal);
      return { ...counts, snapshotId, ...completingOf(pending) };
    } catch (error) {
      if (!(error instanceof SnapshotLostError)) throw error;
      state = await begin(options);
      if (!supply.canReadAgain || attempt === SNAPSHOTS_MAX) {
        throw new CommitError(`Cannot make the snapshot: ${error.message}. Run the command again.`, {
          cause: error,
        });
      }
      logger.warn('a pending snapshot is lost; everything is put again into another one', {
        error: messageOf(error),
      });
      Object.assign(counts, { movedCount: 0, keptCount: 0, skippedCount: 0 });
    }
  }
}

/** Forgets what was put to another snapshot. */
async function begin<Item extends SupplyItem>(options: PutOptions<Item>): Promise<PutState> {
  const state = newPutState(options.wishes, options.parent?.snapshotId, options.volumeSizeGib);
  await options.journal.restart(state);
  return state;
}

/** The ClientToken is durable before the call, so that a call that was cut off gives the same snapshot again. */
async function ensureStarted<Item extends SupplyItem>(
  state: PutState,
  { api, clock, logger, journal }: PutOptions<Item>,
  signal: AbortSignal,
): Promise<PutState> {
  const { pending, volumeSizeGib } = state;
  if (pending.snapshotId !== null) return state;
  const { clientToken, timeoutMinutes, description, tags, parentSnapshotId, encryption } = pending;
  // [ebs: StartSnapshot]
  const started = await api.startSnapshot(
    {
      ...{ clientToken, volumeSizeGib, timeoutMinutes },
      ...(description === '' ? {} : { description }),
      ...(Object.keys(tags).length === 0 ? {} : { tags }),
      ...(parentSnapshotId === null ? {} : { parentSnapshotId }),
      ...(encryption === null ? {} : { encrypted: true }),
      ...(typeof encryption?.kmsKeyArn === 'string' ? { kmsKeyArn: encryption.kmsKeyArn } : {}),
    },
    { signal },
  );
  const { snapshotId, status, kmsKeyArn } = started;
  if (status !== SnapshotStatus.Pending)
    throw new SnapshotLostError(`${snapshotId} is ${status}, and nothing can be put to it`);
  const encrypted = pending.encrypted || kmsKeyArn !== undefined;
  const known = { ...state, pending: { ...pending, snapshotId, startedMs: clock.dateMs(), encrypted } };
  await journal.setState(known);
  logger.info('started a snapshot', { snapshotId, parentSnapshotId });
  return known;
}

function startedOf({ pending }: PutState): StartedSnapshotOf {
  const { snapshotId } = pending;
  if (snapshotId === null) throw new CommitError('Cannot go on: the snapshot was not started.');
  return { ...pending, snapshotId };
}

function completingOf({ completing }: StartedSnapshotOf): { blockCount: number; checksum: string } {
  if (completing === null) throw new CommitError('Cannot go on: the snapshot was not completed.');
  return completing;
}
