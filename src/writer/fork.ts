import type { BlockDevice } from '../device/block-device.js';
import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { MemoryDevice } from '../device/memory-device.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import type { Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import { BackgroundPuts } from './background-puts.js';
import { commitFrozen, type CommitProgress } from './commit.js';
import { joinWishes, type CommitWishes, type ExpressedWishes, type ForkOrigin } from './fork-facts.js';
import { ForkDevice } from './fork-device.js';
import { ForkStore, type ForkStoreOptions } from './fork-store.js';
import { PutPacer } from './put-pacer.js';
import { CommitError } from './staging-error.js';

/** When a flush is answered. */
export const Durability = {
  /** When data and journal are on the disk here. */
  Local: 'local',
  /** When the pending snapshot has every block as well. */
  Remote: 'remote',
} as const;
export type Durability = (typeof Durability)[keyof typeof Durability];

/** How long a block has to be left alone before it is put. */
const QUIET_MS = 60_000;
/** Each put under way holds a block: 32 MiB. */
const PUTS_IN_FLIGHT_MAX = 64;

export interface ForkOptions extends ForkStoreOptions {
  readonly api: SnapshotApi;
  readonly logger: Logger;
  /** Opens a snapshot that can be read. */
  readonly openBase: (snapshotId: string) => Promise<BlockDevice>;
  /** Puts a second, at most. Default: what the account allows. */
  readonly putsPerSecond?: number | undefined;
  /** All puts go through it. Default: 64 at once. */
  readonly putLimiter?: Limiter | undefined;
  /** Default: local. */
  readonly durability?: Durability | undefined;
  /** Puts blocks that have been quiet for a minute. Default: false. */
  readonly putsQuietBlocks?: boolean;
  /** Of each snapshot, unless a commit asks for something else. Default: no description, no tags, not encrypted. */
  readonly wishes?: ExpressedWishes | undefined;
}

/** What a commit is asked for. Wishes by default: those of the pending snapshot, if one was begun, else the fork's. */
export interface CommitRequest extends ExpressedWishes {
  readonly onProgress?: ((progress: CommitProgress) => void) | undefined;
  /** Return as soon as the service has accepted the snapshot; the rest goes on. Default: false. */
  readonly noWait?: boolean | undefined;
  /** As it was at the last flush of a client; what has changed since goes into the next one. Default: as it is now. */
  readonly atLastFlush?: boolean | undefined;
}

/** What came of a commit. */
export interface CommitResult {
  readonly snapshotId: string;
  /** False when there was nothing to commit: the snapshot is the one that the disk is based on. */
  readonly isNew: boolean;
  /** True when an earlier commit was finished, which had broken off: later changes are not in it. */
  readonly wasResumed: boolean;
}

/** A fork in use: the disk, and the way from what was written to a snapshot. */
export class Fork {
  readonly device: ForkDevice;
  readonly store: ForkStore;
  readonly #options: ForkOptions;
  readonly #pacer: PutPacer;
  readonly #limiter: Limiter;
  readonly #background: BackgroundPuts;
  readonly #stop = new AbortController();
  #commit: Promise<unknown> | undefined;
  #progress: CommitProgress | undefined;

  private constructor(options: ForkOptions, store: ForkStore, base: BlockDevice) {
    this.#options = options;
    this.store = store;
    this.device = new ForkDevice(store, base);
    this.#pacer = new PutPacer(options.clock, options.putsPerSecond ?? Number.POSITIVE_INFINITY);
    this.#limiter = options.putLimiter ?? new Limiter(PUTS_IN_FLIGHT_MAX);
    this.#background = new BackgroundPuts({
      ...this.#context,
      wishes: joinWishes(store.state.origin, options.wishes ?? {}),
      quietMs: QUIET_MS,
    });
    const isRemote = options.durability === Durability.Remote;
    if (isRemote || options.putsQuietBlocks === true) {
      this.device.observer = {
        changed: (startBlock, endBlock) => this.#background.changed(startBlock, endBlock),
        ...(isRemote ? { flushed: () => this.#putFlushed() } : {}),
      };
    }
    if (options.putsQuietBlocks === true) this.#background.start();
  }

  /**
   * Makes a fork in a folder that has none.
   *
   * @param base what it begins with, which it closes; it has the size of the origin.
   */
  static async create(options: ForkOptions, origin: ForkOrigin, base: BlockDevice): Promise<Fork> {
    return new Fork(options, await ForkStore.create(options, origin), base);
  }

  /** @throws {JournalError} when the journal is damaged; ENOENT when there is no fork; what `openBase` throws. */
  static async open(options: ForkOptions): Promise<Fork> {
    const store = await ForkStore.open(options);
    try {
      const { baseSnapshotId, origin } = store.state;
      const base =
        baseSnapshotId === undefined
          ? new MemoryDevice(origin.sizeBytes)
          : await options.openBase(baseSnapshotId);
      return new Fork(options, store, base);
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** How far the commit has come that goes on; undefined when none does. */
  get progress(): CommitProgress | undefined {
    return this.#progress;
  }

  /** True while a commit goes on, or has to be finished. */
  get isCommitting(): boolean {
    return this.store.state.frozen !== undefined;
  }

  /**
   * Makes a snapshot of the disk, or finishes the one that broke off. The disk can be written meanwhile; what
   * is written goes into the next one.
   *
   * @throws {CommitError}, {EbsError}, {DeviceError}; it may be called again.
   */
  async commit(request: CommitRequest = {}): Promise<CommitResult> {
    while (this.#commit !== undefined) await this.#commit.catch(() => undefined);
    this.#stop.signal.throwIfAborted();
    const accepted: { resolve?: (snapshotId: string) => void } = {};
    const acceptance = new Promise<string>((resolve) => {
      accepted.resolve = resolve;
    });
    let wasResumed = false;
    const run = this.#run(request, (snapshotId, isResumed) => {
      wasResumed = isResumed;
      accepted.resolve?.(snapshotId);
    }).finally(() => {
      this.#commit = undefined;
      this.#progress = undefined;
    });
    this.#commit = run;
    if (request.noWait !== true) return run;
    const early = acceptance.then((snapshotId) => ({ snapshotId, isNew: true, wasResumed }));
    run.catch((error: unknown) => {
      this.#options.logger.warn('a commit has to be finished later', { error: messageOf(error) });
    });
    return Promise.race([run, early]);
  }

  /** Stops what goes on, makes everything durable, lets go of everything. A commit that goes on is finished later. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the fork is closed'));
    await this.#background.close();
    await this.#commit?.catch(() => undefined);
    await this.device.close();
  }

  async #run(
    request: CommitRequest,
    isAccepted: (snapshotId: string, wasResumed: boolean) => void,
  ): Promise<CommitResult> {
    const { state } = this.store;
    const wasResumed = state.frozen !== undefined;
    await this.#background.pause();
    try {
      if (!wasResumed) {
        const { baseSnapshotId } = state;
        const atLastFlush = request.atLastFlush === true;
        const isEmpty = atLastFlush ? this.store.isPointEmpty : state.active.isEmpty;
        if (isEmpty && baseSnapshotId !== undefined) {
          return { snapshotId: baseSnapshotId, isNew: false, wasResumed };
        }
        // [ebs: Writing] A parent with an encryption of one's own: 400.
        if (baseSnapshotId !== undefined && (request.encryption ?? null) !== null) {
          throw new CommitError(
            `Cannot encrypt the snapshot: it has a parent, ${baseSnapshotId}, and inherits its encryption and key.`,
          );
        }
        await this.device.freeze(this.#wishesOf(request), atLastFlush);
      }
      const onProgress = (progress: CommitProgress): void => {
        this.#progress = progress;
        request.onProgress?.(progress);
      };
      const context = { ...this.#context, onProgress };
      const snapshotId = await commitFrozen(context, this.#stop.signal, (id) => isAccepted(id, wasResumed));
      return { snapshotId, isNew: true, wasResumed };
    } finally {
      if (!this.#stop.signal.aborted) this.#background.resume();
    }
  }

  #wishesOf(request: CommitRequest): CommitWishes {
    const { active, origin } = this.store.state;
    return joinWishes(origin, request, active.pending ?? {}, this.#options.wishes ?? {});
  }

  get #context(): {
    readonly api: SnapshotApi;
    readonly store: ForkStore;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly device: ForkDevice;
    readonly openBase: (snapshotId: string) => Promise<BlockDevice>;
    readonly pacer: PutPacer;
    readonly limiter: Limiter;
    readonly inFlightMax: number;
  } {
    const { api, clock, logger, openBase } = this.#options;
    const { store, device } = this;
    return {
      api,
      store,
      clock,
      logger,
      device,
      openBase,
      pacer: this.#pacer,
      limiter: this.#limiter,
      inFlightMax: PUTS_IN_FLIGHT_MAX,
    };
  }

  async #putFlushed(): Promise<void> {
    try {
      await this.#background.putAll();
    } catch (error) {
      throw new DeviceError(DeviceErrno.EIO, `Cannot flush to the snapshot: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
