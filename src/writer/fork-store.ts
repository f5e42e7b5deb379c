import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { assert } from '../util/assert.js';
import type { Clock, Timer } from '../util/clock.js';
import { messageOf, systemCodeOf } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import { DataFiles, layerOfFile } from './data-files.js';
import type { CommitWishes, ForkOrigin, LastCommit, PendingSnapshot } from './fork-facts.js';
import { ForkState } from './fork-state.js';
import { Journal, NEW_JOURNAL_NAME } from './journal.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { RecordQueue } from './record-queue.js';
import { PAGE_BYTES, SECTOR_BYTES } from './sector-state.js';
import { JournalError } from './staging-error.js';
import type { StagingFolder } from './staging-folder.js';

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
  readonly #limitPages: number;
  readonly #queue = new RecordQueue();
  readonly #data = new Map<number, DataFiles>();
  /** Pages that writes under way are about to take. */
  #promisedPages = 0;
  #round: Promise<void> | undefined;
  #nextRound: Promise<void> | undefined;
  #failure: JournalError | undefined;
  #writeBack: Timer | undefined;

  private constructor(options: ForkStoreOptions, state: ForkState, journal: Journal) {
    this.state = state;
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#journal = journal;
    this.#limitPages = Math.floor((options.stageLimitBytes ?? Number.POSITIVE_INFINITY) / PAGE_BYTES);
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
    const journal = await Journal.open(options.folder, (record) => state.apply(record));
    const store = new ForkStore(options, state, journal);
    await store.#removeLeftovers();
    return store;
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
    const promisedPages = this.#promise(start, count);
    try {
      const written = this.dataOf(active.id).write(start * SECTOR_BYTES, data);
      if (written === undefined) this.#written(start, count, promisedPages);
      else return this.#writtenLater(written, start, count, promisedPages);
    } catch (error) {
      this.#promisedPages -= promisedPages;
      throw this.#deviceErrorOf(error);
    }
  }

  /** Makes sectors zeros. */
  clear(start: number, count: number): void {
    this.#check();
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
    await this.flush();
    await this.record({ type: RecordType.Layer, layerId: this.state.active.id + 1, wishes });
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
      if (this.#failure === undefined) await this.flush();
    } finally {
      await this.#journal.close();
      for (const data of this.#data.values()) await data.close();
    }
  }

  #written(start: number, count: number, promisedPages: number): void {
    this.#promisedPages -= promisedPages;
    const { active } = this.state;
    // What was valid before, and of which nothing was put, is as valid now: nothing to write down.
    if (active.map.isAllData(start, count) && active.puts.putCount === 0) return;
    const record = { type: RecordType.Write, start, count };
    this.state.apply(record);
    this.#add(record);
  }

  async #writtenLater(written: Promise<void>, start: number, count: number, promised: number): Promise<void> {
    try {
      await written;
    } catch (error) {
      this.#promisedPages -= promised;
      throw this.#deviceErrorOf(error);
    }
    this.#written(start, count, promised);
  }

  #add(record: JournalRecord): void {
    this.#queue.add(record);
    if (this.#queue.count === QUEUED_RECORDS_MAX) this.#flushUnasked();
    this.#writeBack ??= this.#clock.setTimer(WRITE_BACK_MS, () => {
      this.#writeBack = undefined;
      this.#flushUnasked();
    });
  }

  // Whoever asks for a flush is told what went wrong; what is queued stays queued.
  #flushUnasked(): void {
    this.flush().catch(() => undefined);
  }

  #promise(start: number, count: number): number {
    if (this.#limitPages === Number.POSITIVE_INFINITY) return 0;
    const pageCount = this.state.active.map.unallocatedPageCount(start, count);
    if (this.state.allocatedPageCount + this.#promisedPages + pageCount > this.#limitPages) {
      const limit = formatBytes(this.#limitPages * PAGE_BYTES);
      throw new DeviceError(
        DeviceErrno.ENOSPC,
        `Cannot stage a write: the fork has reached its limit of ${limit} in ${this.#folder.path}. Commit it, or raise --stage-limit.`,
      );
    }
    this.#promisedPages += pageCount;
    return pageCount;
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
    try {
      const isCompacting = this.#journal.wantsCompaction;
      if (records.length > 0) {
        const flushed = { type: RecordType.Flushed, dateMs: this.#clock.dateMs() };
        this.state.apply(flushed);
        records.push(flushed);
      }
      // Taken now: what happens during the sync is not durable when it ends.
      const checkpoint = isCompacting ? [...this.state.checkpoint()] : undefined;
      for (const data of this.#data.values()) if (data.isUnsynced) await data.sync();
      if (checkpoint !== undefined && (await this.#compact(checkpoint))) return;
      if (records.length > 0) await this.#journal.append(records);
    } catch (error) {
      this.#queue.putBack(records);
      throw error;
    }
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
    if (error instanceof DeviceError) return error;
    if (error instanceof JournalError) {
      if (this.#failure === undefined) {
        this.#failure = error;
        this.dataOf(this.state.active.id).fail(error);
      }
      return new DeviceError(DeviceErrno.EIO, error.message, { cause: error });
    }
    const code = systemCodeOf(error);
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
      const advice = 'Make room there, or commit or discard a fork; what was flushed is safe.';
      return new DeviceError(
        DeviceErrno.ENOSPC,
        `Cannot stage data in ${this.#folder.path}: the disk is full (${code}). ${advice}`,
        { cause: error },
      );
    }
    if (code === undefined) return error instanceof Error ? error : new Error(String(error));
    const message = `Cannot stage data in ${this.#folder.path}: ${messageOf(error)}.`;
    return new DeviceError(DeviceErrno.EIO, message, { cause: error });
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
