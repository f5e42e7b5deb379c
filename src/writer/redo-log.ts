import type { DataFiles } from './data-files.js';
import type { DataRecord } from './embedded-writes.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { SECTOR_BYTES } from './sector-state.js';

/** Bytes that a journal holds and the data files may have lost; all of the newest layer, and bounded by the writer. */
export class RedoLog {
  #records: DataRecord[] = [];

  /** Looks at a record of the journal; call it for each, in order. */
  see(record: JournalRecord): void {
    if (record.type === RecordType.Data) this.#records.push(record);
    else if (record.type === RecordType.Synced || record.type === RecordType.CheckpointEnd)
      this.#records = [];
  }

  get isEmpty(): boolean {
    return this.#records.length === 0;
  }

  /** Writes the bytes again, and makes them durable. @throws the system's error; it may be called again. */
  async apply(data: DataFiles): Promise<void> {
    for (const { start, bytes } of this.#records) await data.write(start * SECTOR_BYTES, bytes);
    await data.sync();
    this.#records = [];
  }
}
