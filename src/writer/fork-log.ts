import type { Clock } from '../util/clock.js';
import { systemCodeOf } from '../util/errors.js';
import { EmbeddedWrites, type DataRecord } from './embedded-writes.js';
import type { ForkState } from './fork-state.js';
import { checkpointOf, type Checkpoint } from './journal-checkpoint.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import type { Journal } from './journal.js';
import type { LayerFiles } from './layer-files.js';
import { RecordQueue } from './record-queue.js';

/**
 * What has happened to a fork since it was last made durable, and the only safe order of doing that: data, then the record that
 * it is valid; or both at once, in the journal, where it is little.
 */
export class ForkLog {
  readonly #state: ForkState;
  readonly #files: LayerFiles;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #queue = new RecordQueue();
  readonly #embedded = new EmbeddedWrites();

  constructor(state: ForkState, files: LayerFiles, journal: Journal, clock: Clock) {
    this.#state = state;
    this.#files = files;
    this.#journal = journal;
    this.#clock = clock;
  }

  /** Records that are not durable yet. */
  get queuedCount(): number {
    return this.#queue.count;
  }

  /** Makes a record true in memory, and durable with the next {@link makeDurable}. */
  add(record: JournalRecord): void {
    this.#state.apply(record);
    this.#queue.add(record);
  }

  /** Bytes are in the data file. Whether they are valid is said by {@link add}. */
  wrote(start: number, data: Uint8Array): void {
    this.#embedded.add(start, data);
  }

  /** Has the next {@link makeDurable} leave no data in the journal. */
  wantSync(): void {
    this.#embedded.giveUp();
  }

  /**
   * Makes durable what has happened before the call. One at a time.
   *
   * @throws the system's error, and it may be called again; {JournalError} when nobody knows what is on the disk.
   */
  async makeDurable(): Promise<void> {
    const records = this.#queue.take();
    const embedded = this.#embedded.take();
    try {
      await this.#write(records, embedded);
    } catch (error) {
      this.#queue.putBack(records);
      this.#embedded.giveUp();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#journal.close();
  }

  /** @param embedded data that goes into the journal; undefined: the data files are synced. */
  async #write(
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
    const hasData = embedded === undefined ? this.#files.isUnsynced : embedded.length > 0;
    if (records.length > 0 || hasData) {
      const flushed = { type: RecordType.Flushed, dateMs: this.#clock.dateMs() };
      this.#state.apply(flushed);
      news.push(flushed);
    }
    // Taken now: what happens during the sync is not durable when it ends.
    const checkpoint = isCompacting ? checkpointOf(this.#state.checkpoint()) : undefined;
    if (isSyncing) await this.#files.sync();
    const isCompacted = checkpoint !== undefined && (await this.#compact(checkpoint));
    if (!isCompacted && news.length > 0) {
      if (!isSyncing) this.#embedded.journaling(embedded);
      await this.#journal.append(news);
    }
    if (isSyncing) this.#embedded.synced();
  }

  /** Returns false when there was no room for it, and the old journal goes on. */
  async #compact(checkpoint: Checkpoint): Promise<boolean> {
    try {
      await this.#journal.compact(checkpoint);
      return true;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      return false;
    }
  }
}
