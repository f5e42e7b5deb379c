import { BLOCK_BYTES } from '../ebs/constants.js';
import type { Clock, Timer } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { isZeroBlock, putBlocks, type PutContext } from './block-putter.js';
import { costsNothing, dueBlocks } from './due-blocks.js';
import type { CommitWishes } from './fork-facts.js';
import type { BlockObserver, ForkDevice } from './fork-device.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { ensureStarted, renew, SnapshotLostError, type PendingContext } from './pending-snapshot.js';
import { PutState } from './put-table.js';
import { CommitError } from './staging-error.js';

/** Blocks that are announced in the journal at once before they are put. */
const OWED_AT_ONCE = 64;
/** A change of more blocks than this is not remembered block by block: trims and the like are done with them. */
const REMEMBERED_BLOCKS_MAX = 1024;

export interface BackgroundContext extends PendingContext, PutContext {
  readonly device: ForkDevice;
  /** What the pending snapshot is started with. */
  readonly wishes: CommitWishes;
  /** How long a block has to be left alone before it is put, in milliseconds. */
  readonly quietMs: number;
}

/**
 * Puts blocks of the layer that takes changes while it takes them: those that have been quiet for a while, or all of them
 * when a flush asks for it. A block that changes while it is put, or later, is owed again.
 */
export class BackgroundPuts implements BlockObserver {
  readonly #context: BackgroundContext;
  readonly #clock: Clock;
  /** Blocks being put that have not changed since they were read. */
  readonly #unchanged = new Set<number>();
  #young = new Set<number>();
  #older = new Set<number>();
  #timer: Timer | undefined;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #isPaused = false;
  #isClosed = false;
  #resumed: Promise<void> | undefined;
  #onResume: (() => void) | undefined;

  constructor(context: BackgroundContext) {
    this.#context = context;
    this.#clock = context.clock;
  }

  changed(startBlock: number, endBlock: number): void {
    if (this.#unchanged.size > 0) {
      if (endBlock - startBlock > this.#unchanged.size) {
        for (const block of this.#unchanged)
          if (block >= startBlock && block < endBlock) this.#unchanged.delete(block);
      } else {
        for (let block = startBlock; block < endBlock; block += 1) this.#unchanged.delete(block);
      }
    }
    if (this.#timer === undefined || endBlock - startBlock > REMEMBERED_BLOCKS_MAX) return;
    for (let block = startBlock; block < endBlock; block += 1) this.#young.add(block);
  }

  /** Begins to put quiet blocks, again and again. */
  start(): void {
    // A block is in one of the two sets for at least the quiet time, and for at most twice that.
    this.#timer = this.#clock.setTimer(this.#context.quietMs, () => {
      const quiet = this.#older;
      this.#older = this.#young;
      this.#young = new Set();
      quiet.clear();
      this.#run((block) => !this.#older.has(block) && !this.#young.has(block)).catch((error: unknown) => {
        if (!this.#stop.signal.aborted) {
          this.#context.logger.warn('cannot put quiet blocks; they stay staged', { error: messageOf(error) });
        }
      });
      this.start();
    });
  }

  /**
   * Puts everything that is due now: for flushes that are to be as durable as the snapshot. While a commit goes on it
   * waits, as the parent of what was written meanwhile is not there yet.
   */
  async putAll(): Promise<void> {
    for (;;) {
      while (this.#resumed !== undefined) await this.#resumed;
      if (this.#isClosed) throw new CommitError('Cannot put what was flushed: the disk is being closed.');
      if (this.#context.store.state.frozen !== undefined) {
        throw new CommitError(
          'Cannot put what was flushed: a commit broke off. Run "snapnbd commit" again first.',
        );
      }
      const { signal } = this.#stop;
      try {
        await this.#run(() => true);
        if (!signal.aborted) return;
      } catch (error) {
        // Cut off by a commit, after which what is left is put.
        if (!signal.aborted) throw error;
      }
    }
  }

  /** Stops putting, and resolves when nothing is under way any more. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    this.#resumed ??= new Promise((resolve) => {
      this.#onResume = resolve;
    });
    this.#stop.abort(new Error('paused'));
    await this.#running.catch(() => undefined);
  }

  resume(): void {
    this.#isPaused = false;
    this.#stop = new AbortController();
    this.#resumed = undefined;
    this.#onResume?.();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.pause();
    this.#onResume?.();
    this.#resumed = undefined;
  }

  #run(isWanted: (block: number) => boolean): Promise<void> {
    const run = this.#running.catch(() => undefined).then(() => this.#putDue(isWanted));
    this.#running = run;
    return run;
  }

  async #putDue(isWanted: (block: number) => boolean): Promise<void> {
    const { store, wishes } = this.#context;
    const { signal } = this.#stop;
    // The parent of what is written during a commit is not there yet.
    if (this.#isPaused || store.failure !== undefined || store.state.frozen !== undefined) return;
    const layer = store.state.active;
    if (layer.isEmpty) return;
    for (;;) {
      try {
        await this.#putLayer(isWanted, signal);
        return;
      } catch (error) {
        if (!(error instanceof SnapshotLostError)) throw error;
        this.#context.logger.warn('a pending snapshot is lost; what was put is staged, and put again', {
          error: messageOf(error),
        });
        await renew(layer, wishes, store);
      }
    }
  }

  async #putLayer(isWanted: (block: number) => boolean, signal: AbortSignal): Promise<void> {
    const { store, device, wishes } = this.#context;
    const layer = store.state.active;
    const base = device.base;
    const first = layer.pending?.encrypted ?? store.state.origin.encrypted;
    const hasWork = await hasAny(dueBlocks(layer, { base, encrypted: first }), isWanted);
    if (!hasWork) return;
    const pending = await ensureStarted(layer, wishes, this.#context, signal);
    const due = { base, encrypted: pending.encrypted };
    const task = {
      read: (block: number, room: Buffer) => device.readBlock(block, room, () => this.#unchanged.add(block)),
      // It is owed, as it was announced; that nothing of it is there was known before.
      costsNothing: () => Promise.resolve(false),
      done: (block: number, digest: Buffer) => {
        if (this.#unchanged.delete(block)) {
          store.note({ type: RecordType.Put, layerId: layer.id, block, digest });
        }
      },
    };
    for await (const batch of batches(dueBlocks(layer, due), isWanted)) {
      signal.throwIfAborted();
      const announced: JournalRecord[] = [];
      const wanted: number[] = [];
      for (const block of batch) {
        if (await this.#isZeroForNothing(block, due)) continue;
        wanted.push(block);
        if (layer.puts.get(block) !== PutState.Never) continue;
        announced.push({ type: RecordType.Owe, layerId: layer.id, startBlock: block, endBlock: block + 1 });
      }
      if (announced.length > 0) await store.record(...announced);
      await putBlocks(wanted.values(), pending, task, this.#context, signal);
    }
    await store.flush();
  }

  async #isZeroForNothing(block: number, due: Parameters<typeof costsNothing>[2]): Promise<boolean> {
    const { store, device } = this.#context;
    if (!(await costsNothing(block, store.state.active, due))) return false;
    const room = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    return !(await device.readBlock(block, room, () => undefined)) || isZeroBlock(room);
  }
}

async function hasAny(
  blocks: AsyncGenerator<number, void>,
  isWanted: (block: number) => boolean,
): Promise<boolean> {
  for await (const block of blocks) if (isWanted(block)) return true;
  return false;
}

async function* batches(
  blocks: AsyncGenerator<number, void>,
  isWanted: (block: number) => boolean,
): AsyncGenerator<readonly number[], void> {
  let batch: number[] = [];
  for await (const block of blocks) {
    if (!isWanted(block)) continue;
    batch.push(block);
    if (batch.length === OWED_AT_ONCE) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
