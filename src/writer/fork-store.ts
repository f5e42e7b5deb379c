import { assert } from '../util/assert.js';
import type { Clock, Timer } from '../util/clock.js';
import { systemCodeOf } from '../util/errors.js';
import { DataFiles, layerOfFile } from './data-files.js';
import { EmbeddedWrites, type DataRecord } from './embedded-writes.js';
import type { CommitWishes, ForkOrigin, LastCommit, PendingSnapshot } from './fork-facts.js';
import { ForkState } from './fork-state.js';
import { doubt, Journal, NEW_JOURNAL_NAME } from './journal.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import type { Layer } from './layer.js';
import { PointFreeze, wasEmpty } from './point-freeze.js';
import { RecordQueue } from './record-queue.js';
import { RedoLog } from './redo-log.js';
import { SECTOR_BYTES } from './sector-state.js';
import { deviceErrorOf } from './stage-errors.js';
import { StageLimit } from './stage-limit.js';
import { JournalError } from './staging-error.js';
import type { StagingFolder } from './staging-folder.js';
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
 * The staged data of a fork and its journal: what was written, and makes it durable in the only safe order: data, then
 * the record that it is valid.
 *
 * Callers see to it that changes that overlap do not run at the same time, and that nothing changes during a freeze.
 */
export class ForkStore {
  readonly state: ForkState;
  readonly #folder: StagingFolder;
  readonly #clock: Clock;
  readonly #journal: Journal;
  readonly #limit: StageLimit;
  readonly #queue = new RecordQueue();
  readonly #data = new Map<number, DataFiles>();
  readonly #embedded = new EmbeddedWrites();
  readonly #undo: UndoLog;
  /** Whether a client has asked for the round that comes next. */
  #isPointAsked = false;
  #round: Promise<void> | undefined;
  #nextRound: Promise<void> | undefined;
  #failure: JournalError | undefined;
  #writeBack: Timer | undefined;

  private constructor(options: ForkStoreOptions, state: ForkState, journal: Journal) {
    this.state = state;
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#journal = journal;
    this.#undo = new UndoLog(options.clock);
    this.#limit = new StageLimit(options.stageLimitBytes ?? Number.POSITIVE_INFINITY, options.folder.path);
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
      await store.#removeLeftovers();
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
    return this.#failure;
  }

  /** The data files of a layer. */
  dataOf(layerId: number): DataFiles {
    let data = this.#data.get(layerId);
    if (data === undefined) {
      data = new DataFiles(this.#folder, layerId);
      this.#data.set(layerId, data);
    }
    return data;
  }

  /**
   * Stages whole sectors.
   *
   * @throws {DeviceError} ENOSPC, EIO.
   */
  write(start: number, data: Uint8Array): void | Promise<void> {
    this.#check();
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
      throw this.#deviceErrorOf(error);
    }
  }

  /** Makes sectors zeros. */
  clear(start: number, count: number): void {
    this.#check();
    this.#undo.beforeClear(this.state.active, start, count);
    const record = { type: RecordType.Clear, start, count };
    this.state.apply(record);
    this.#add(record);
  }

  /** Waits where too much has not been flushed. Call it after a change, without a lock. */
  async settle(): Promise<void> {
    if (this.#queue.count > QUEUED_RECORDS_MAX) await this.flush();
  }

  /** True when {@link settle} would wait. */
  get isCrowded(): boolean {
    return this.#queue.count > QUEUED_RECORDS_MAX;
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
    this.#nextRound ??= this.#runRound(this.#round);
    return this.#nextRound;
  }

  /** Writes records down and makes them, and everything before, durable. */
  async record(...records: readonly JournalRecord[]): Promise<void> {
    await this.#recordAll(records);
  }

  async #recordAll(records: Iterable<JournalRecord>): Promise<void> {
    this.#check();
    for (const record of records) {
      this.state.apply(record);
      this.#add(record);
    }
    await this.flush();
  }

  /** Records what need not be durable yet. */
  note(record: JournalRecord): void {
    this.#check();
    this.state.apply(record);
    this.#add(record);
  }

  /** Durably ends the layer that takes changes, and begins another one. Nothing may change meanwhile. */
  async freeze(wishes: CommitWishes): Promise<void> {
    assert(this.state.frozen === undefined, 'one commit at a time');
    // First everything else, so that what fails fails before anything has become of it.
    await this.#flushData();
    try {
      await this.record({ type: RecordType.Layer, layerId: this.state.active.id + 1, wishes });
    } finally {
      this.#undo.restart([]);
    }
  }

  /**
   * As {@link freeze}, but ends the layer as it was at the last {@link flushPoint}: what has changed since goes into the
   * next one. Where so much has changed that there is no way back, this is such a point itself.
   *
   * @param onMoved called when the next layer has what has changed; from its end on nobody may read that from this one.
   */
  async freezeAtPoint(wishes: CommitWishes, onMoved: (next: Layer) => Promise<void>): Promise<void> {
    assert(this.state.frozen === undefined, 'one commit at a time');
    await this.#flushData();
    const undo = this.#undo.entries;
    if (undo === undefined || undo.length === 0) return this.freeze(wishes);
    const freeze = new PointFreeze(this.state, undo, (layerId) => this.dataOf(layerId));
    try {
      await freeze.copy();
      await this.#recordAll(freeze.owed());
    } catch (error) {
      await this.removeLayer(freeze.next.id);
      throw this.#deviceErrorOf(error);
    }
    try {
      await onMoved(freeze.next);
      await freeze.restoreBytes().catch((error: unknown) => {
        throw doubt(this.#folder, error);
      });
      await this.#recordAll(freeze.records(wishes));
    } catch (error) {
      throw this.#deviceErrorOf(error);
    } finally {
      this.#undo.restart(freeze.moved);
    }
  }

  /** True when the layer would have nothing in it if it were frozen at the last {@link flushPoint}. */
  get isPointEmpty(): boolean {
    const { active } = this.state;
    const undo = this.#undo.entries;
    return undo === undefined ? active.isEmpty : wasEmpty(active, undo);
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
    await this.#data.get(layerId)?.close();
    this.#data.delete(layerId);
    await this.#removeLeftovers();
  }

  /** Makes everything durable and closes the files. */
  async close(): Promise<void> {
    this.#writeBack?.cancel();
    try {
      if (this.#failure === undefined) await this.#flushData();
    } finally {
      await this.#closeFiles();
    }
  }

  async #closeFiles(): Promise<void> {
    await this.#journal.close();
    for (const data of this.#data.values()) await data.close();
  }

  /** Makes everything durable, and the journal free of data. */
  async #flushData(): Promise<void> {
    this.#embedded.giveUp();
    await this.flush();
  }

  #written(start: number, data: Uint8Array, promisedPages: number): void {
    this.#limit.settle(promisedPages);
    const { active } = this.state;
    const count = data.length / SECTOR_BYTES;
    this.#embedded.add(start, data);
    // What was valid before, and of which nothing was put, is as valid now: nothing to write down.
    if (active.map.isAllData(start, count) && active.puts.putCount === 0) {
      this.#scheduleWriteBack();
      return;
    }
    const record = { type: RecordType.Write, start, count };
    this.state.apply(record);
    this.#add(record);
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
      throw this.#deviceErrorOf(error);
    }
    this.#written(start, data, promisedPages);
  }

  #add(record: JournalRecord): void {
    this.#queue.add(record);
    if (this.#queue.count === QUEUED_RECORDS_MAX) this.#flushUnasked();
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

  async #runRound(before: Promise<void> | undefined): Promise<void> {
    await before?.catch(() => undefined);
    // From here on changes belong to the round after this one.
    const round = this.#nextRound;
    this.#round = round;
    this.#nextRound = undefined;
    try {
      await this.#makeDurable();
    } catch (error) {
      throw this.#deviceErrorOf(error);
    } finally {
      if (this.#round === round) this.#round = undefined;
    }
  }

  async #makeDurable(): Promise<void> {
    this.#check();
    const records = this.#queue.take();
    const embedded = this.#embedded.take();
    const point = this.#isPointAsked ? this.#undo.begin() : undefined;
    this.#isPointAsked = false;
    try {
      await this.#makeTakenDurable(records, embedded);
    } catch (error) {
      this.#queue.putBack(records);
      this.#embedded.giveUp();
      throw error;
    }
    if (point !== undefined) this.#undo.reached(point);
  }

  /** @param embedded data that goes into the journal; undefined: the data files are synced. */
  async #makeTakenDurable(
    records: readonly JournalRecord[],
    embedded: readonly DataRecord[] | undefined,
  ): Promise<void> {
    const isCompacting = this.#journal.wantsCompaction;
    const news: JournalRecord[] = [];
    // First, or data that is older than what the files have would be written to them again.
    const isSyncing = embedded === undefined || isCompacting;
    if (isSyncing && this.#embedded.isInJournal) news.push({ type: RecordType.Synced });
    for (const record of records) news.push(record);
    if (!isSyncing) for (const record of embedded) news.push(record);
    const isUnsynced = [...this.#data.values()].some((data) => data.isUnsynced);
    if (records.length > 0 || (embedded === undefined ? isUnsynced : embedded.length > 0)) {
      const flushed = { type: RecordType.Flushed, dateMs: this.#clock.dateMs() };
      this.state.apply(flushed);
      news.push(flushed);
    }
    // Taken now: what happens during the sync is not durable when it ends.
    const checkpoint = isCompacting ? [...this.state.checkpoint()] : undefined;
    if (isSyncing) for (const data of this.#data.values()) if (data.isUnsynced) await data.sync();
    const isCompacted = checkpoint !== undefined && (await this.#compact(checkpoint));
    if (!isCompacted && news.length > 0) {
      if (!isSyncing) this.#embedded.journaling(embedded);
      await this.#journal.append(news);
    }
    if (isSyncing) this.#embedded.synced();
  }

  /** Returns false when there was no room for it, and the old journal goes on. */
  async #compact(records: readonly JournalRecord[]): Promise<boolean> {
    try {
      await this.#journal.compact(records);
      return true;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      return false;
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#deviceErrorOf(this.#failure);
  }

  #deviceErrorOf(error: unknown): Error {
    if (error instanceof JournalError && this.#failure === undefined) {
      this.#failure = error;
      this.dataOf(this.state.active.id).fail(error);
    }
    return deviceErrorOf(error, this.#folder.path);
  }

  async #removeLeftovers(): Promise<void> {
    const { active, frozen } = this.state;
    for (const name of await this.#folder.list()) {
      const layerId = layerOfFile(name);
      const isDropped = layerId !== undefined && layerId !== active.id && layerId !== frozen?.id;
      if (isDropped || name === NEW_JOURNAL_NAME) await this.#folder.remove(name);
    }
  }
}
