import { createHash } from 'node:crypto';
import type { BlockDevice } from '../device/block-device.js';
import { assert } from '../util/assert.js';
import { messageOf } from '../util/errors.js';
import { completeSnapshot, CompletionStep } from './completion.js';
import { costsNothing, dueBlockCount, dueBlocks } from './due-blocks.js';
import type { ForkDevice } from './fork-device.js';
import { joinWishes } from './fork-facts.js';
import { RecordType } from './journal-record.js';
import type { Layer } from './layer.js';
import { putBlocks, type PutContext } from './block-putter.js';
import {
  ensureStarted,
  renew,
  SnapshotLostError,
  type PendingContext,
  type StartedSnapshotOf,
} from './pending-snapshot.js';
import { CommitError } from './staging-error.js';

/** How often everything is put anew into another snapshot before a commit is given up. */
const SNAPSHOTS_MAX = 3;
/** Puts after which their digests are made durable: what a killed commit does again at most. */
const PUTS_PER_FLUSH = 512;

/** Which step a commit is at. */
export const CommitStep = { Put: 'put', ...CompletionStep } as const;
export type CommitStep = (typeof CommitStep)[keyof typeof CommitStep];

/** How far a commit has come. */
export interface CommitProgress {
  readonly step: CommitStep;
  readonly snapshotId: string;
  /** Blocks put since this run began. */
  readonly putCount: number;
  /** Blocks that this run has to put, about: blocks of zeros may need none. */
  readonly dueCount: number;
}

export interface CommitContext extends PendingContext, PutContext {
  readonly device: ForkDevice;
  /** Opens a snapshot that can be read. */
  readonly openBase: (snapshotId: string) => Promise<BlockDevice>;
  readonly onProgress: (progress: CommitProgress) => void;
}

/**
 * Makes the frozen layer a snapshot, from wherever an earlier run broke off: each step is in the journal before the next
 * begins, and each can be made twice.
 *
 * @param isAccepted called when CompleteSnapshot has taken the snapshot: from then on nothing can be lost.
 * @returns the id of the snapshot, once it can be read, and the fork goes on over it.
 * @throws {CommitError}, {EbsError}, {DeviceError}: it can be run again.
 */
export async function commitFrozen(
  context: CommitContext,
  signal: AbortSignal,
  isAccepted: (snapshotId: string) => void,
): Promise<string> {
  const { store, logger } = context;
  const layer = store.state.frozen;
  assert(layer !== undefined, 'nothing is frozen');
  const wishes = layer.wishes ?? joinWishes(store.state.origin);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const pending = await ensureStarted(layer, wishes, context, signal);
      const completing =
        pending.completing === null ? await putAll(layer, pending, context, signal) : pending;
      const { snapshotId } = completing;
      const { api, clock, onProgress } = context;
      const onStep = (step: CompletionStep, count: number): void =>
        onProgress({ step, snapshotId, putCount: count, dueCount: count });
      await completeSnapshot(completing, { api, clock, onStep, isAccepted }, signal);
      const base = await context.openBase(snapshotId);
      await context.device.rebase({ snapshotId, dateMs: clock.dateMs() }, base);
      return snapshotId;
    } catch (error) {
      if (!(error instanceof SnapshotLostError)) throw error;
      if (attempt === SNAPSHOTS_MAX) {
        throw new CommitError(
          `Cannot commit: ${error.message}, ${attempt} times. Everything is still staged.`,
          {
            cause: error,
          },
        );
      }
      logger.warn('a pending snapshot is lost; everything is put again into another one', {
        error: messageOf(error),
      });
      await renew(layer, wishes, store);
    }
  }
}

/** Puts what is due and writes down what is about to be completed. */
async function putAll(
  layer: Layer,
  pending: StartedSnapshotOf,
  context: CommitContext,
  signal: AbortSignal,
): Promise<StartedSnapshotOf> {
  const { store, device, onProgress } = context;
  const view = device.frozenView();
  const due = { base: device.base, encrypted: pending.encrypted };
  const dueCount = dueBlockCount(layer);
  let putCount = 0;
  const { snapshotId } = pending;
  const report = (): void => onProgress({ step: CommitStep.Put, snapshotId, putCount, dueCount });
  report();
  const task = {
    read: (block: number, room: Buffer) => view.readBlock(block, room),
    costsNothing: (block: number) => costsNothing(block, layer, due),
    done: async (block: number, digest: Buffer) => {
      store.note({ type: RecordType.Put, layerId: layer.id, block, digest });
      putCount += 1;
      report();
      if (putCount % PUTS_PER_FLUSH === 0) await store.flush();
    },
  };
  try {
    await putBlocks(dueBlocks(layer, due), pending, task, context, signal);
  } finally {
    // What was put need not be put again, whatever has happened.
    if (store.failure === undefined) await store.flush();
  }
  assert(layer.puts.owedCount === 0, 'a block is owed at the end');
  const completing = {
    ...pending,
    completing: { blockCount: layer.puts.putCount, checksum: linearChecksumOf(layer) },
  };
  // [ebs: CompleteSnapshot] A wrong count or checksum ends in `error`, so nothing is put once these are written down.
  await store.setPending(layer.id, completing);
  return completing;
}

/** [ebs: CompleteSnapshot] LINEAR: SHA-256 over the binary digests of the blocks put, in ascending order. */
function linearChecksumOf(layer: Layer): string {
  const hash = createHash('sha256');
  for (const block of layer.puts.blocks()) hash.update(layer.puts.digestOf(block));
  return hash.digest('base64');
}
