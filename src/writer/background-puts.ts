import { BLOCK_BYTES } from '../ebs/constants.js';
import type { Clock, Timer } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { isZeroBlock, putBlocks, type PutContext, type PutTask } from './block-putter.js';
import { costsNothing, dueBlocks } from './due-blocks.js';
import type { CommitWishes } from './fork-facts.js';
import type { BlockObserver, ForkDevice } from './fork-device.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import type { Layer } from './layer.js';
import { ensureStarted, renew, SnapshotLostError, type PendingContext } from './pending-snapshot.js';
import { PutState } from './put-table.js';
import { QuietBlocks } from './quiet-blocks.js';
import { CommitError } from './staging-error.js';

const MS_PER_MINUTE = 60_000;
/** Blocks that are announced in the journal at once before they are put. */
const OWED_AT_ONCE = 64;
/** A snapshot is cancelled when nothing has been put to it for its time-out: a block is put again after this share of it. */
const KEEP_ALIVE_SHARE = 0.5;

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
  readonly #quiet = new QuietBlocks();
  #timer: Timer | undefined;
  /** Undefined: not since the fork was opened. */
  #lastPutMs: number | undefined;
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
    if (this.#timer !== undefined) this.#quiet.changed(startBlock, endBlock);
  }

  /** Begins to put quiet blocks, again and again. */
  start(): void {
    this.#timer = this.#clock.setTimer(this.#context.quietMs, () => {
      this.#quiet.turn();
      this.#enqueue(async () => {
        await this.#putDue((block) => this.#quiet.has(block));
        await this.#keepAlive();
      }).catch((error: unknown) => {
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
        await this.#enqueue(() => this.#putDue(() => true));
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

  /** Runs `task` after those before it. */
  #enqueue(task: () => Promise<void>): Promise<void> {
    const run = this.#running.catch(() => undefined).then(task);
    this.#running = run;
    return run;
  }

  /** True when nothing may be put: the parent of what is written during a commit is not there yet. */
  get #isIdle(): boolean {
    const { store } = this.#context;
    return this.#isPaused || store.failure !== undefined || store.state.frozen !== undefined;
  }

  async #putDue(isWanted: (block: number) => boolean): Promise<void> {
    const { store } = this.#context;
    const { signal } = this.#stop;
    if (this.#isIdle) return;
    const layer = store.state.active;
    if (layer.isEmpty) return;
    for (;;) {
      try {
        await this.#putLayer(isWanted, signal);
        return;
      } catch (error) {
        await this.#replaceLost(layer, error);
      }
    }
  }

  /**
   * Puts a block again, as it was put before, where a pending snapshot has sat idle for long: it would be cancelled, and
   * everything had to be put again. Where that has happened already, a new one is begun with the next blocks that are put.
   */
  async #keepAlive(): Promise<void> {
    const { signal } = this.#stop;
    const layer = this.#context.store.state.active;
    const { pending } = layer;
    if (this.#isIdle || pending === undefined || pending.snapshotId === null) return;
    const idleMs =
      this.#lastPutMs === undefined
        ? this.#clock.dateMs() - pending.startedMs
        : this.#clock.nowMs() - this.#lastPutMs;
    if (idleMs < KEEP_ALIVE_SHARE * pending.timeoutMinutes * MS_PER_MINUTE) return;
    const block = firstPut(layer);
    if (block === undefined) return;
    const { snapshotId } = pending;
    this.#context.logger.info('put a block again, to keep a pending snapshot', { snapshotId, block });
    try {
      await putBlocks(
        [block].values(),
        { ...pending, snapshotId },
        this.#taskOf(layer),
        this.#context,
        signal,
      );
    } catch (error) {
      await this.#replaceLost(layer, error);
    }
  }

  /** @throws what is no loss of a snapshot. */
  async #replaceLost(layer: Layer, error: unknown): Promise<void> {
    if (!(error instanceof SnapshotLostError)) throw error;
    const { store, wishes, logger } = this.#context;
    logger.warn('a pending snapshot is lost; what was put is staged, and put again', {
      error: messageOf(error),
    });
    await renew(layer, wishes, store);
  }

  #taskOf(layer: Layer): PutTask {
    const { store, device } = this.#context;
    return {
      read: (block, room) => device.readBlock(block, room, () => this.#unchanged.add(block)),
      // It is owed, as it was announced; that nothing of it is there was known before.
      costsNothing: () => Promise.resolve(false),
      done: (block, digest) => {
        this.#lastPutMs = this.#clock.nowMs();
        if (this.#unchanged.delete(block)) {
          store.note({ type: RecordType.Put, layerId: layer.id, block, digest });
        }
      },
    };
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
    const task = this.#taskOf(layer);
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

function firstPut({ puts }: Layer): number | undefined {
  for (const block of puts.blocks()) if (puts.get(block) === PutState.Put) return block;
  return undefined;
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
