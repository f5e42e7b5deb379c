import { RecordType, type JournalRecord } from './journal-record.js';

/** What has happened since the last flush, in order; neighbouring ranges with the same fate are one record. */
export class RecordQueue {
  #records: JournalRecord[] = [];

  get count(): number {
    return this.#records.length;
  }

  add(record: JournalRecord): void {
    const last = this.#records.at(-1);
    if (
      (record.type === RecordType.Write || record.type === RecordType.Clear) &&
      last?.type === record.type &&
      last.start + last.count === record.start
    ) {
      this.#records[this.#records.length - 1] = {
        type: record.type,
        start: last.start,
        count: last.count + record.count,
      };
    } else {
      this.#records.push(record);
    }
  }

  /** All of it, which is then no longer here. */
  take(): JournalRecord[] {
    return this.#records.splice(0);
  }

  /** Puts back, before everything else, what could not be written. */
  putBack(records: readonly JournalRecord[]): void {
    this.#records = [...records, ...this.#records];
  }
}
