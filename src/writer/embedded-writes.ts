import { KIB, MIB } from '../util/units.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { SECTOR_BYTES } from './sector-state.js';

/** Up to here the bytes of a flush go into the journal: one sync of a few pages in a row, rather than two. */
const FLUSH_BYTES_MAX = 256 * KIB;
/** After so much the data files are synced after all: what is in the journal is written again after a crash. */
const JOURNAL_BYTES_MAX = 8 * MIB;

/** Bytes for the data file, in the journal. */
export type DataRecord = Extract<JournalRecord, { readonly type: typeof RecordType.Data }>;

/**
 * Copies of what was written since the last flush, as long as it is little. Such a flush need not wait for the data files:
 * the journal has the bytes, and after a crash they are written to the data files again.
 */
export class EmbeddedWrites {
  /** Where copies go. Memory of its own for each flush would have the garbage collector look for the dead all the time. */
  #room: Buffer | undefined;
  /** What the flush that is under way reads from; the one after it begins when it has ended. */
  #lentRoom: Buffer | undefined;
  #records: DataRecord[] = [];
  #bytes = 0;
  #isTooMuch = false;
  #journalBytes = 0;

  /** Copies bytes that the data file has got. */
  add(start: number, data: Uint8Array): void {
    if (this.#isTooMuch) return;
    const at = this.#bytes;
    this.#bytes += data.length;
    if (this.#bytes > FLUSH_BYTES_MAX) this.giveUp();
    else {
      this.#room ??= Buffer.allocUnsafeSlow(FLUSH_BYTES_MAX);
      const bytes = this.#room.subarray(at, this.#bytes);
      bytes.set(data);
      this.#records.push({ type: RecordType.Data, start, count: data.length / SECTOR_BYTES, bytes });
    }
  }

  /** Has the next flush sync the data files. */
  giveUp(): void {
    this.#records = [];
    this.#isTooMuch = true;
  }

  /**
   * All that was written since the last call, good until the next one; undefined when the data files have to be synced.
   */
  take(): readonly DataRecord[] | undefined {
    const isTooMuch = this.#isTooMuch || this.#journalBytes + this.#bytes > JOURNAL_BYTES_MAX;
    const records = this.#records;
    const room = this.#room;
    this.#room = this.#lentRoom;
    this.#lentRoom = room;
    this.#records = [];
    this.#bytes = 0;
    this.#isTooMuch = false;
    return isTooMuch ? undefined : records;
  }

  /** True when the journal may have bytes that the data files have to be synced for before they are forgotten. */
  get isInJournal(): boolean {
    return this.#journalBytes > 0;
  }

  /** Called before records go to the journal. */
  journaling(records: readonly DataRecord[]): void {
    for (const { bytes } of records) this.#journalBytes += bytes.length;
  }

  /** The journal says that the data files have everything. */
  synced(): void {
    this.#journalBytes = 0;
  }
}
