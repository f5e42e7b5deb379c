import { setMaxListeners } from 'node:events';
import { blockChecksum, ZERO_BLOCK_CHECKSUM } from '../ebs/checksum.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import type { Clock } from '../util/clock.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import type { Limiter } from '../util/limiter.js';
import { callPending, type StartedSnapshotOf } from './pending-snapshot.js';
import type { PutPacer } from './put-pacer.js';

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** What puts go through. */
export interface PutContext {
  readonly api: SnapshotApi;
  readonly clock: Clock;
  readonly pacer: PutPacer;
  /** All puts go through it; whoever watches how the service bears them changes its bound. */
  readonly limiter: Limiter;
  /** Puts under way at once: each holds a block in memory. */
  readonly inFlightMax: number;
}

/** What to do for one put. */
export interface PutTask {
  /** Reads all of the block into `room`; false where it is zeros as a whole, and `room` was left alone. */
  read(block: number, room: Buffer): Promise<boolean>;
  /** Asked for a block of zeros. */
  costsNothing(block: number): Promise<boolean>;
  /** The block was put; `digest` is its SHA-256. */
  done(block: number, digest: Buffer): void | Promise<void>;
}

/**
 * Puts blocks to a pending snapshot, several at once. When one fails, those under way are waited for.
 *
 * @returns how many were put.
 * @throws the first error; {SnapshotLostError} when the snapshot is gone; the signal's reason.
 */
export async function putBlocks(
  blocks: { next(): IteratorResult<number, unknown> | Promise<IteratorResult<number, unknown>> },
  pending: StartedSnapshotOf,
  task: PutTask,
  context: PutContext,
  signal: AbortSignal,
): Promise<number> {
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  // Each worker may listen, in more than one place.
  setMaxListeners(0, stop);
  let putCount = 0;
  const work = async (): Promise<void> => {
    // Used again for each block: memory that is fresh each time keeps the garbage collector busier than all the rest.
    let room: Buffer | undefined;
    for (;;) {
      stop.throwIfAborted();
      const next = await blocks.next();
      if (next.done === true) return;
      room ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
      if (await putBlock(next.value, room, pending, task, context, stop)) putCount += 1;
    }
  };
  const workers = Array.from({ length: context.inFlightMax }, () =>
    work().catch((error: unknown) => {
      failure.abort(error);
    }),
  );
  await Promise.all(workers);
  signal.throwIfAborted();
  if (failure.signal.aborted) throw failure.signal.reason;
  return putCount;
}

async function putBlock(
  block: number,
  room: Buffer,
  pending: StartedSnapshotOf,
  task: PutTask,
  { api, clock, pacer, limiter }: PutContext,
  signal: AbortSignal,
): Promise<boolean> {
  const bytes = (await task.read(block, room)) ? room : ZERO_BLOCK;
  const isZeros = isZeroBlock(bytes);
  if (isZeros && (await task.costsNothing(block))) return false;
  const checksum = isZeros ? ZERO_BLOCK_CHECKSUM : await blockChecksum(bytes);
  // [ebs: PutSnapshotBlock]
  const request = { snapshotId: pending.snapshotId, blockIndex: block, bytes, checksum };
  // Whoever waits for something else than the answer holds nobody up who shares the limiter.
  await pacer.turn(signal);
  await callPending(pending, clock, signal, () =>
    limiter.run(() => api.putSnapshotBlock(request, { signal }), undefined, signal),
  );
  await task.done(block, Buffer.from(checksum, 'base64'));
  return true;
}

/** True when all bytes of a block are zeros. */
export function isZeroBlock(bytes: Buffer): boolean {
  return bytes.equals(ZERO_BLOCK);
}
