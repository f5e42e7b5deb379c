import type { CommitWishes, ForkOrigin, LastCommit, PendingSnapshot } from './fork-facts.js';
import { DIGEST_BYTES } from './put-table.js';
import type { SectorState } from './sector-state.js';

/** What a journal says, one thing at a time, in the order in which it happened. */
export const RecordType = {
  Origin: 1,
  Write: 2,
  Clear: 3,
  Owe: 4,
  Put: 5,
  Layer: 6,
  Pending: 7,
  Committed: 8,
  Blocks: 9,
  Detail: 10,
  CheckpointEnd: 11,
  Flushed: 12,
  Data: 13,
  Synced: 14,
  Restore: 15,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export type JournalRecord =
  /** The first one of each journal. */
  | { readonly type: typeof RecordType.Origin; readonly origin: ForkOrigin }
  /** Sectors of the newest layer have bytes in the data file, all of which are durable; or are zeros. */
  | {
      readonly type: typeof RecordType.Write | typeof RecordType.Clear;
      readonly start: number;
      readonly count: number;
    }
  /** Blocks of a layer may be put from now on, or what was put is no longer what they hold. */
  | {
      readonly type: typeof RecordType.Owe;
      readonly layerId: number;
      readonly startBlock: number;
      readonly endBlock: number;
    }
  /** A block was put, as it is at this point of the journal. */
  | {
      readonly type: typeof RecordType.Put;
      readonly layerId: number;
      readonly block: number;
      readonly digest: Uint8Array;
    }
  /** A new layer takes all changes from here on; the one before it, if any, is to become the snapshot described. */
  | { readonly type: typeof RecordType.Layer; readonly layerId: number; readonly wishes: CommitWishes | null }
  /** The pending snapshot of a layer is now this. With another ClientToken than before, nothing has been put to it. */
  | { readonly type: typeof RecordType.Pending; readonly layerId: number; readonly pending: PendingSnapshot }
  /** The older of two layers can be read as this snapshot, and is dropped. */
  | { readonly type: typeof RecordType.Committed; readonly commit: LastCommit }
  /** In a checkpoint: blocks of a layer that are the same all over. */
  | {
      readonly type: typeof RecordType.Blocks;
      readonly layerId: number;
      readonly startBlock: number;
      readonly endBlock: number;
      readonly state: SectorState;
    }
  /** In a checkpoint: a block of a layer that is not. */
  | {
      readonly type: typeof RecordType.Detail;
      readonly layerId: number;
      readonly block: number;
      readonly fine: boolean;
      readonly words: Uint32Array;
    }
  /** All before it describes one moment. */
  | { readonly type: typeof RecordType.CheckpointEnd }
  /** When what comes before became durable, milliseconds since 1970. */
  | { readonly type: typeof RecordType.Flushed; readonly dateMs: number }
  /** Sectors of the data file of the newest layer hold this, or are about to: write it again after a crash. */
  | {
      readonly type: typeof RecordType.Data;
      readonly start: number;
      readonly count: number;
      readonly bytes: Uint8Array;
    }
  /** All {@link RecordType.Data} before it is durable in the data files, and may have been replaced there. */
  | { readonly type: typeof RecordType.Synced }
  /** Sectors of the newest layer are what they were before: what was not flushed is taken out of it. */
  | {
      readonly type: typeof RecordType.Restore;
      readonly start: number;
      readonly count: number;
      readonly state: SectorState;
    };

/** The longest record that is neither JSON nor data. */
const BINARY_BYTES_MAX = 300;
/** Before the text of a record that is kept as JSON: its type and its length. */
const JSON_HEADER_BYTES = 5;
/** Before the bytes of a {@link RecordType.Data}. */
const DATA_HEADER_BYTES = 13;

/** Room that {@link encodeRecord} may need for a record, at least as much as it takes. */
export function recordBytesMax(record: JournalRecord): number {
  switch (record.type) {
    case RecordType.Origin:
    case RecordType.Layer:
    case RecordType.Pending:
    case RecordType.Committed:
      return JSON_HEADER_BYTES + Buffer.byteLength(textOf(record));
    case RecordType.Data:
      return DATA_HEADER_BYTES + record.bytes.length;
    case RecordType.Write:
    case RecordType.Clear:
    case RecordType.Owe:
    case RecordType.Put:
    case RecordType.Blocks:
    case RecordType.Detail:
    case RecordType.CheckpointEnd:
    case RecordType.Flushed:
    case RecordType.Synced:
    case RecordType.Restore:
      return BINARY_BYTES_MAX;
  }
}

/** Writes a record into `bytes` at `at`. Returns where it ends. */
export function encodeRecord(record: JournalRecord, bytes: Buffer, at: number): number {
  const start = bytes.writeUInt8(record.type, at);
  switch (record.type) {
    case RecordType.Origin:
    case RecordType.Layer:
    case RecordType.Pending:
    case RecordType.Committed:
      return encodeText(textOf(record), bytes, start);
    case RecordType.CheckpointEnd:
    case RecordType.Synced:
      return start;
    case RecordType.Data: {
      const dataStart = encodeSpan(record, bytes, start);
      bytes.set(record.bytes, dataStart);
      return dataStart + record.bytes.length;
    }
    case RecordType.Write:
    case RecordType.Clear:
      return encodeSpan(record, bytes, start);
    case RecordType.Restore:
      return bytes.writeUInt8(record.state, encodeSpan(record, bytes, start));
    case RecordType.Flushed:
      return bytes.writeUIntBE(record.dateMs, start, 6);
    case RecordType.Owe:
      return encodeBlocks(record, bytes, start);
    case RecordType.Blocks:
      return bytes.writeUInt8(record.state, encodeBlocks(record, bytes, start));
    case RecordType.Put: {
      const digestStart = encodeBlock(record, bytes, start);
      bytes.set(record.digest, digestStart);
      return digestStart + DIGEST_BYTES;
    }
    case RecordType.Detail: {
      let end = bytes.writeUInt8(record.fine ? 1 : 0, encodeBlock(record, bytes, start));
      for (const word of record.words) end = bytes.writeUInt32BE(word, end);
      return end;
    }
  }
}

function encodeSpan(
  { start, count }: { readonly start: number; readonly count: number },
  bytes: Buffer,
  at: number,
): number {
  return bytes.writeUIntBE(count, bytes.writeUIntBE(start, at, 6), 6);
}

function encodeBlock(
  { layerId, block }: { readonly layerId: number; readonly block: number },
  bytes: Buffer,
  at: number,
): number {
  return bytes.writeUInt32BE(block, bytes.writeUInt32BE(layerId, at));
}

function encodeBlocks(
  record: { readonly layerId: number; readonly startBlock: number; readonly endBlock: number },
  bytes: Buffer,
  at: number,
): number {
  const start = bytes.writeUInt32BE(record.layerId, at);
  return bytes.writeUInt32BE(record.endBlock, bytes.writeUInt32BE(record.startBlock, start));
}

/** Records that are kept as JSON. */
type TextRecord = Extract<
  JournalRecord,
  {
    readonly type:
      | typeof RecordType.Origin
      | typeof RecordType.Layer
      | typeof RecordType.Pending
      | typeof RecordType.Committed;
  }
>;

function textOf(record: TextRecord): string {
  switch (record.type) {
    case RecordType.Origin:
      return JSON.stringify(record.origin);
    case RecordType.Layer:
      return JSON.stringify({ layerId: record.layerId, wishes: record.wishes });
    case RecordType.Pending:
      return JSON.stringify({ layerId: record.layerId, pending: record.pending });
    case RecordType.Committed:
      return JSON.stringify(record.commit);
  }
}

function encodeText(text: string, bytes: Buffer, at: number): number {
  const lengthBytes = bytes.write(text, at + 4);
  bytes.writeUInt32BE(lengthBytes, at);
  return at + 4 + lengthBytes;
}
