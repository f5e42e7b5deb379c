import { assert } from '../util/assert.js';
import type { Clock, Timer } from '../util/clock.js';
import type { DataFiles } from './data-files.js';
import { FlushRounds } from './flush-rounds.js';
import type { CommitWishes, ForkOrigin, LastCommit, PendingSnapshot } from './fork-facts.js';
import { ForkLog } from './fork-log.js';
import { ForkState } from './fork-state.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { Journal } from './journal.js';
import type { Layer } from './layer.js';
import { LayerFiles } from './layer-files.js';
import { LayerFreezer } from './layer-freezer.js';
import { RedoLog } from './redo-log.js';
import { SECTOR_BYTES } from './sector-state.js';
import { StageLimit } from './stage-limit.js';
import type { JournalError } from './staging-error.js';
import type { StagingFolder } from './staging-folder.js';
import { StoreHealth } from './store-health.js';
import { UndoLog } from './undo-log.js';

/**
 * What nobody flushes is made durable after so long, as by a kernel: a client that goes away without a flush, and a server
 * that is killed later, then lose nothing.
 */
const WRITE_BACK_MS = 5000;

/** So many changes are kept in memory, some 20 MiB, before they are made durable unasked: 3 MiB in the journal. */
const QUEUED_RECORDS_MAX = 262_144;

export interface ForkStoreOptions {
  /** Owned by this process alone, for as long as the store is open. */
  readonly folder: StagingFolder;
  readonly clock: Clock;
  /** Bound on the data files of the fork, in bytes. Default: the disk that they are on. */
  readonly stageLimitBytes?: number | undefined;
}

/**
 * The staged data of a fork and its journal: takes changes, and makes them durable.
 *
 * Callers see to it that changes that overlap do not run at the same time, and that nothing changes during a freeze.
 */
export class ForkStore {
  readonly state: ForkState;
  readonly #clock: Clock;
  readonly #files: LayerFiles;
  readonly #log: ForkLog;
  readonly #limit: StageLimit;
  readonly #undo: UndoLog;
  readonly #health: StoreHealth;
  readonly #freezer: LayerFreezer;
  readonly #rounds = new FlushRounds(() => this.#runRound());
  /** Whether a client has asked for the round that comes next. */
  #isPointAsked = false;
  #writeBack: Timer | undefined;

  private constructor(options: ForkStoreOptions, state: ForkState, journal: Journal) {
    const { folder, clock } = options;
    this.state = state;
    this.#clock = clock;
    this.#files = new LayerFiles(folder, state);
    this.#log = new ForkLog(state, this.#files, journal, clock);
    this.#undo = new UndoLog(clock);
    this.#limit = new StageLimit(options.stageLimitBytes ?? Number.POSITIVE_INFINITY, folder.path);
    this.#health = new StoreHealth(folder.path, (failure) => this.dataOf(state.active.id).fail(failure));
    this.#freezer = new LayerFreezer({
      folder,
      state,
      files: this.#files,
      undo: this.#undo,
      flushData: () => this.#flushData(),
      record: (records) => this.#recordAll(records),
    });
  }

  /** Makes a new fork in an empty folder. */
  static async create(options: ForkStoreOptions, origin: ForkOrigin): Promise<ForkStore> {
    const state = new ForkState();
    state.apply({ type: RecordType.Origin, origin });
    state.apply({ type: RecordType.Layer, layerId: 1, wishes: null });
    return new ForkStore(options, state, await Journal.create(options.folder, state.checkpoint()));
  }

  /**
   * Opens a fork as it was last made durable, and removes what no longer belongs to it.
   *
   * @throws {JournalError} when its journal is damaged; ENOENT when there is none.
   */
  static async open(options: ForkStoreOptions): Promise<ForkStore> {
    const state = new ForkState();
    const redo = new RedoLog();
    const journal = await Journal.open(options.folder, (record) => {
      state.apply(record);
      redo.see(record);
    });
    const store = new ForkStore(options, state, journal);
    try {
      await store.#files.removeLeftovers();
      const data = store.dataOf(state.active.id);
      await data.openAll();
      if (!redo.isEmpty) {
        await redo.apply(data);
        await journal.append([{ type: RecordType.Synced }]);
      }
      return store;
    } catch (error) {
      await store.#closeFiles();
      throw error;
    }
  }

  /** Why nothing is taken any more, or undefined. */
  get failure(): JournalError | undefined {
    return this.#health.failure;
  }

  /** The data files of a layer. */
  dataOf(layerId: number): DataFiles {
    return this.#files.of(layerId);
  }

  /**
   * Stages whole sectors.
   *
   * @throws {DeviceError} ENOSPC, EIO.
   */
  write(start: number, data: Uint8Array): void | Promise<void> {
    this.#health.check();
    const { active } = this.state;
    const count = data.length / SECTOR_BYTES;
    const promisedPages = this.#limit.promise(this.state, start, count);
    try {
      const files = this.dataOf(active.id);
      this.#undo.beforeWrite(active, files, start, count);
      const written = files.write(start * SECTOR_BYTES, data);
      if (written === undefined) this.#written(start, data, promisedPages);
      else return this.#writtenLater(written, start, data, promisedPages);
    } catch (error) {
      this.#limit.settle(promisedPages);
      throw this.#health.deviceErrorOf(error);
    }
  }

  /** Makes sectors zeros. */
  clear(start: number, count: number): void {
    this.#health.check();
    this.#undo.beforeClear(this.state.active, start, count);
    this.#add({ type: RecordType.Clear, start, count });
  }

  /** Waits where too much has not been flushed. Call it after a change, without a lock. */
  async settle(): Promise<void> {
    if (this.isCrowded) await this.flush();
  }

  /** True when {@link settle} would wait. */
  get isCrowded(): boolean {
    return this.#log.queuedCount > QUEUED_RECORDS_MAX;
  }

  /** As {@link flush}, for a client: commits of a disk in use go back to here. */
  flushPoint(): Promise<void> {
    this.#isPointAsked = true;
    return this.flush();
  }

  /**
   * Makes everything durable that was staged before the call. Those who ask while a round is under way share the next.
   *
   * @throws {DeviceError} ENOSPC when there is no room for the journal: everything is still there, and may be flushed
   *   again later; EIO for ever when nobody knows what is on the disk.
   */
  flush(): Promise<void> {
    return this.#rounds.join();
  }

  /** Writes records down and makes them, and everything before, durable. */
  async record(...records: readonly JournalRecord[]): Promise<void> {
    await this.#recordAll(records);
  }

  /** Records what need not be durable yet. */
  note(record: JournalRecord): void {
    this.#health.check();
    this.#add(record);
  }

  /** Durably ends the layer that takes changes, and begins another one. Nothing may change meanwhile. */
  async freeze(wishes: CommitWishes): Promise<void> {
    await this.#freezer.freezeNow(wishes);
  }

  /**
   * As {@link freeze}, but ends the layer as it was at the last {@link flushPoint}: what has changed since goes into the
   * next one. Where so much has changed that there is no way back, this is such a point itself.
   *
   * @param onMoved called when the next layer has what has changed; from its end on nobody may read that from this one.
   */
  async freezeAtPoint(wishes: CommitWishes, onMoved: (next: Layer) => Promise<void>): Promise<void> {
    try {
      await this.#freezer.freezeAtPoint(wishes, onMoved);
    } catch (error) {
      throw this.#health.deviceErrorOf(error);
    }
  }

  /** True when the layer would have nothing in it if it were frozen at the last {@link flushPoint}. */
  get isPointEmpty(): boolean {
    return this.#freezer.isPointEmpty;
  }

  /** Durably records what is known of the pending snapshot of a layer. */
  async setPending(layerId: number, pending: PendingSnapshot): Promise<void> {
    await this.record({ type: RecordType.Pending, layerId, pending });
  }

  /** Durably drops the frozen layer; its files stay until {@link removeLayer}. */
  async setCommitted(commit: LastCommit): Promise<void> {
    await this.record({ type: RecordType.Committed, commit });
  }

  /** Removes the files of a layer that nobody reads any more. */
  async removeLayer(layerId: number): Promise<void> {
    assert(layerId !== this.state.active.id && layerId !== this.state.frozen?.id, 'the layer is in use');
    await this.#files.drop(layerId);
  }

  /** Makes everything durable and closes the files. */
  async close(): Promise<void> {
    this.#writeBack?.cancel();
    try {
      if (this.failure === undefined) await this.#flushData();
    } finally {
      await this.#closeFiles();
    }
  }

  async #closeFiles(): Promise<void> {
    await this.#log.close();
    await this.#files.close();
  }

  async #recordAll(records: Iterable<JournalRecord>): Promise<void> {
    this.#health.check();
    for (const record of records) this.#add(record);
    await this.flush();
  }

  /** Makes everything durable, and the journal free of data. */
  async #flushData(): Promise<void> {
    this.#log.wantSync();
    await this.flush();
  }

  #written(start: number, data: Uint8Array, promisedPages: number): void {
    this.#limit.settle(promisedPages);
    const { active } = this.state;
    const count = data.length / SECTOR_BYTES;
    this.#log.wrote(start, data);
    // What was valid before, and of which nothing was put, is as valid now: nothing to write down.
    if (active.map.isAllData(start, count) && active.puts.putCount === 0) this.#scheduleWriteBack();
    else this.#add({ type: RecordType.Write, start, count });
  }

  async #writtenLater(
    written: Promise<void>,
    start: number,
    data: Uint8Array,
    promisedPages: number,
  ): Promise<void> {
    try {
      await written;
    } catch (error) {
      this.#limit.settle(promisedPages);
      throw this.#health.deviceErrorOf(error);
    }
    this.#written(start, data, promisedPages);
  }

  #add(record: JournalRecord): void {
    this.#log.add(record);
    if (this.#log.queuedCount === QUEUED_RECORDS_MAX) this.#flushUnasked();
    this.#scheduleWriteBack();
  }

  #scheduleWriteBack(): void {
    this.#writeBack ??= this.#clock.setTimer(WRITE_BACK_MS, () => {
      this.#writeBack = undefined;
      this.#flushUnasked();
    });
  }

  // Whoever asks for a flush is told what went wrong; what is queued stays queued.
  #flushUnasked(): void {
    this.flush().catch(() => undefined);
  }

  async #runRound(): Promise<void> {
    this.#health.check();
    const point = this.#isPointAsked ? this.#undo.begin() : undefined;
    this.#isPointAsked = false;
    try {
      await this.#log.makeDurable();
    } catch (error) {
      throw this.#health.deviceErrorOf(error);
    }
    if (point !== undefined) this.#undo.reached(point);
  }
}
