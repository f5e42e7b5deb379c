import { PAGES_PER_BLOCK, SECTOR_BYTES, SECTORS_PER_BLOCK, type SectorState } from './sector-state.js';
import type { CommitWishes, ForkOrigin, LastCommit, PendingSnapshot } from './fork-facts.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { DIGEST_BYTES } from './put-table.js';
import { ENTRIES_PER_WORD } from './two-bit-words.js';

/**
 * The records of a frame whose checksum was right.
 *
 * @throws {RangeError} when the payload is not made of records: a newer version, or a defect of the writer.
 */
export function* decodeRecords(payload: Buffer): Generator<JournalRecord, void> {
  const reader = new Reader(payload);
  while (!reader.isAtEnd) yield decodeRecord(reader);
}

function decodeRecord(reader: Reader): JournalRecord {
  const type = reader.uint(1);
  switch (type) {
    case RecordType.Origin:
      return { type, origin: reader.json() as ForkOrigin };
    case RecordType.Write:
    case RecordType.Clear:
      return { type, start: reader.uint(6), count: reader.uint(6) };
    case RecordType.Restore:
      return { type, start: reader.uint(6), count: reader.uint(6), state: reader.uint(1) as SectorState };
    case RecordType.Data: {
      const [start, count] = [reader.uint(6), reader.uint(6)];
      return { type, start, count, bytes: reader.bytes(count * SECTOR_BYTES) };
    }
    case RecordType.Owe:
      return { type, layerId: reader.uint(4), startBlock: reader.uint(4), endBlock: reader.uint(4) };
    case RecordType.Put:
      return { type, layerId: reader.uint(4), block: reader.uint(4), digest: reader.bytes(DIGEST_BYTES) };
    case RecordType.Layer: {
      const value = reader.json() as { layerId: number; wishes: CommitWishes | null };
      return { type, ...value };
    }
    case RecordType.Pending: {
      const value = reader.json() as { layerId: number; pending: PendingSnapshot };
      return { type, ...value };
    }
    case RecordType.Committed:
      return { type, commit: reader.json() as LastCommit };
    case RecordType.Blocks:
      return {
        type,
        layerId: reader.uint(4),
        startBlock: reader.uint(4),
        endBlock: reader.uint(4),
        state: reader.uint(1) as SectorState,
      };
    case RecordType.Detail: {
      const layerId = reader.uint(4);
      const block = reader.uint(4);
      const fine = reader.uint(1) === 1;
      const words = new Uint32Array((fine ? SECTORS_PER_BLOCK : PAGES_PER_BLOCK) / ENTRIES_PER_WORD);
      for (let index = 0; index < words.length; index += 1) words[index] = reader.uint(4);
      return { type, layerId, block, fine, words };
    }
    case RecordType.CheckpointEnd:
    case RecordType.Synced:
      return { type };
    case RecordType.Flushed:
      return { type, dateMs: reader.uint(6) };
    default:
      throw new RangeError(`a record of type ${type}`);
  }
}

class Reader {
  readonly #payload: Buffer;
  #at = 0;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#payload.length;
  }

  uint(lengthBytes: number): number {
    const value = this.#payload.readUIntBE(this.#at, lengthBytes);
    this.#at += lengthBytes;
    return value;
  }

  bytes(lengthBytes: number): Buffer {
    if (this.#at + lengthBytes > this.#payload.length) throw new RangeError('a record is cut off');
    const bytes = this.#payload.subarray(this.#at, this.#at + lengthBytes);
    this.#at += lengthBytes;
    return bytes;
  }

  json(): unknown {
    try {
      return JSON.parse(this.bytes(this.uint(4)).toString());
    } catch (error) {
      throw error instanceof RangeError ? error : new RangeError('a record is not JSON');
    }
  }
}
