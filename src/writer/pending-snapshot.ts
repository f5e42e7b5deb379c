import { randomUUID } from 'node:crypto';
import { GIB } from '../util/units.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { EbsErrorKind, isEbsError } from '../ebs/errors.js';
import { SnapshotStatus, type SnapshotApi } from '../ebs/snapshot-api.js';
import type { CommitWishes, PendingSnapshot, SnapshotEncryption } from './fork-facts.js';
import type { ForkStore } from './fork-store.js';
import type { Layer } from './layer.js';
import { CommitError } from './staging-error.js';

/** [ebs: Writing] The first calls after StartSnapshot can get 404 for up to two minutes. */
const GRACE_MS = 120_000;
const GRACE_POLL_MS = 2000;

/** AWS has cancelled the pending snapshot, or lost it: everything has to be put into another one. */
export class SnapshotLostError extends CommitError {
  override readonly name = 'SnapshotLostError';
}

/** What the calls about pending snapshots need. */
export interface PendingContext {
  readonly api: SnapshotApi;
  readonly store: ForkStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A pending snapshot that AWS knows. */
export type StartedSnapshotOf = PendingSnapshot & { readonly snapshotId: string };

/**
 * The pending snapshot of a layer; starts one where there is none, or where there is one with another description or
 * other tags, which cannot be changed through this API. The ClientToken is durable before the call, so that a call that was
 * cut off gives the same snapshot when it is made again.
 *
 * [ebs: StartSnapshot / ClientToken]
 */
export async function ensureStarted(
  layer: Layer,
  wishes: CommitWishes,
  { api, store, clock, logger }: PendingContext,
  signal: AbortSignal,
): Promise<StartedSnapshotOf> {
  const parentSnapshotId = store.state.baseSnapshotId ?? null;
  if (layer.pending?.parentSnapshotId !== parentSnapshotId || !isWished(layer.pending, wishes)) {
    await renew(layer, wishes, store);
  }
  const { pending } = layer;
  if (pending === undefined) throw new CommitError('Cannot commit: the fork has changed meanwhile.');
  if (pending.snapshotId !== null) return { ...pending, snapshotId: pending.snapshotId };
  const { origin } = store.state;
  const started = await api.startSnapshot(
    {
      clientToken: pending.clientToken,
      volumeSizeGib: origin.sizeBytes / GIB,
      timeoutMinutes: pending.timeoutMinutes,
      ...(pending.description === '' ? {} : { description: pending.description }),
      ...(Object.keys(pending.tags).length === 0 ? {} : { tags: pending.tags }),
      // [ebs: Writing] A child inherits its parent's key, and may not name one.
      ...(pending.parentSnapshotId === null
        ? encryptionOf(pending)
        : { parentSnapshotId: pending.parentSnapshotId }),
    },
    { signal },
  );
  if (started.status !== SnapshotStatus.Pending) {
    throw new SnapshotLostError(`${started.snapshotId} is ${started.status}, and nothing can be put to it`);
  }
  const known: StartedSnapshotOf = {
    ...pending,
    snapshotId: started.snapshotId,
    startedMs: clock.dateMs(),
    encrypted: pending.encrypted || started.kmsKeyArn !== undefined,
  };
  await store.setPending(layer.id, known);
  logger.info('started a snapshot', {
    snapshotId: started.snapshotId,
    parentSnapshotId: pending.parentSnapshotId,
  });
  return known;
}

/** Durably forgets the pending snapshot of a layer and everything that was put to it. */
export async function renew(layer: Layer, wishes: CommitWishes, store: ForkStore): Promise<void> {
  const parentSnapshotId = store.state.baseSnapshotId ?? null;
  await store.setPending(layer.id, {
    ...wishes,
    clientToken: randomUUID(),
    parentSnapshotId,
    snapshotId: null,
    startedMs: 0,
    encrypted: parentSnapshotId === null && wishes.encryption !== null,
    completing: null,
  });
}

/**
 * Makes a call about a pending snapshot. "Not found" means that it was cancelled, unless it is so new that it may not be
 * known everywhere.
 *
 * @throws {SnapshotLostError} when it is gone.
 */
export async function callPending<T>(
  pending: StartedSnapshotOf,
  clock: Clock,
  signal: AbortSignal,
  call: () => Promise<T>,
): Promise<T> {
  const beginMs = clock.nowMs();
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isEbsError(error, EbsErrorKind.NotFound)) throw error;
      // The second bound is for a clock that was set back.
      if (clock.dateMs() - pending.startedMs >= GRACE_MS || clock.nowMs() - beginMs >= GRACE_MS) {
        throw new SnapshotLostError(
          `AWS no longer knows the pending snapshot ${pending.snapshotId}: it was cancelled or deleted`,
          { cause: error },
        );
      }
      await clock.sleep(GRACE_POLL_MS, signal);
    }
  }
}

function isWished(pending: PendingSnapshot, wishes: CommitWishes): boolean {
  const names = Object.keys(wishes.tags);
  return (
    // Once it is being completed, it is what it is.
    pending.completing !== null ||
    (pending.description === wishes.description &&
      names.length === Object.keys(pending.tags).length &&
      names.every((name) => pending.tags[name] === wishes.tags[name]) &&
      (pending.parentSnapshotId !== null || isSameKey(pending.encryption, wishes.encryption)))
  );
}

function isSameKey(one: SnapshotEncryption | null, other: SnapshotEncryption | null): boolean {
  return one === null || other === null ? one === other : one.kmsKeyArn === other.kmsKeyArn;
}

function encryptionOf({ encryption }: CommitWishes): { encrypted?: boolean; kmsKeyArn?: string } {
  if (encryption === null) return {};
  const { kmsKeyArn } = encryption;
  return { encrypted: true, ...(kmsKeyArn === null ? {} : { kmsKeyArn }) };
}
