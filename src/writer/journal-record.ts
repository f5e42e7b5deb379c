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
/** Before the bytes of a {@link RecordType.Data}. */
const DATA_HEADER_BYTES = 13;

/** The bytes of a record. */
export function encodeRecord(record: JournalRecord): Buffer {
  switch (record.type) {
    case RecordType.Origin:
      return encodeJson(record.type, record.origin);
    case RecordType.Layer:
      return encodeJson(record.type, { layerId: record.layerId, wishes: record.wishes });
    case RecordType.Pending:
      return encodeJson(record.type, { layerId: record.layerId, pending: record.pending });
    case RecordType.Committed:
      return encodeJson(record.type, record.commit);
    case RecordType.CheckpointEnd:
    case RecordType.Synced:
      return Buffer.of(record.type);
    case RecordType.Data:
      return encodeData(record);
    case RecordType.Write:
    case RecordType.Clear:
    case RecordType.Owe:
    case RecordType.Put:
    case RecordType.Blocks:
    case RecordType.Detail:
    case RecordType.Flushed:
    case RecordType.Restore:
      return encodeBinary(record);
  }
}

function encodeData(record: Extract<JournalRecord, { readonly type: typeof RecordType.Data }>): Buffer {
  const bytes = Buffer.allocUnsafe(DATA_HEADER_BYTES + record.bytes.length);
  let at = bytes.writeUInt8(record.type, 0);
  at = bytes.writeUIntBE(record.start, at, 6);
  at = bytes.writeUIntBE(record.count, at, 6);
  bytes.set(record.bytes, at);
  return bytes;
}

/** Those that are not written by {@link encodeBinary}. */
type OtherRecordType =
  | typeof RecordType.Data
  | typeof RecordType.Synced
  | typeof RecordType.Origin
  | typeof RecordType.Layer
  | typeof RecordType.Pending
  | typeof RecordType.Committed
  | typeof RecordType.CheckpointEnd;

function encodeBinary(record: Exclude<JournalRecord, { readonly type: OtherRecordType }>): Buffer {
  const bytes = Buffer.allocUnsafe(BINARY_BYTES_MAX);
  let at = bytes.writeUInt8(record.type, 0);
  switch (record.type) {
    case RecordType.Write:
    case RecordType.Clear:
      at = bytes.writeUIntBE(record.start, at, 6);
      at = bytes.writeUIntBE(record.count, at, 6);
      break;
    case RecordType.Restore:
      at = bytes.writeUIntBE(record.start, at, 6);
      at = bytes.writeUIntBE(record.count, at, 6);
      at = bytes.writeUInt8(record.state, at);
      break;
    case RecordType.Flushed:
      at = bytes.writeUIntBE(record.dateMs, at, 6);
      break;
    case RecordType.Owe:
      at = bytes.writeUInt32BE(record.layerId, at);
      at = bytes.writeUInt32BE(record.startBlock, at);
      at = bytes.writeUInt32BE(record.endBlock, at);
      break;
    case RecordType.Put:
      at = bytes.writeUInt32BE(record.layerId, at);
      at = bytes.writeUInt32BE(record.block, at);
      bytes.set(record.digest, at);
      at += DIGEST_BYTES;
      break;
    case RecordType.Blocks:
      at = bytes.writeUInt32BE(record.layerId, at);
      at = bytes.writeUInt32BE(record.startBlock, at);
      at = bytes.writeUInt32BE(record.endBlock, at);
      at = bytes.writeUInt8(record.state, at);
      break;
    case RecordType.Detail:
      at = bytes.writeUInt32BE(record.layerId, at);
      at = bytes.writeUInt32BE(record.block, at);
      at = bytes.writeUInt8(record.fine ? 1 : 0, at);
      for (const word of record.words) at = bytes.writeUInt32BE(word, at);
      break;
  }
  return bytes.subarray(0, at);
}

function encodeJson(type: RecordType, value: object): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  const bytes = Buffer.allocUnsafe(5 + text.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32BE(text.length, 1);
  bytes.set(text, 5);
  return bytes;
}
