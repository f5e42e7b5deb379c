import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { BLOCK_BYTES } from '../../ebs/constants.js';
import { RECORD_BYTES, decodeRecord, encodeRecord, type BlockRecord } from './block-records.js';
import { readFully, readSome, writeFully } from './file-io.js';
import { SnapshotFile } from './layout.js';
import { SlotTable, type SlotEntry } from './slot-table.js';

/** Records that are read at once: 64 KiB. */
const RECORDS_PER_READ = 1024;

/** Records that are read to get at those of one GiB: 512 KiB. */
const WINDOW_RECORDS_MAX = 8192;

/** One put of a block. */
export interface BlockPut {
  readonly blockIndex: number;
  /** 524,288 bytes, or undefined for zeros. */
  readonly bytes: Uint8Array | undefined;
  readonly digest: Buffer;
  readonly putAtMs: number;
}

/**
 * The blocks of a pending snapshot: two files, of blocks and of records. A put writes its block into a slot that
 * nothing refers to, then the record of that slot; so a process that is killed at any moment leaves every block
 * that was put before either as it was or as it became. Slots of blocks that were put again are used again.
 */
export class PendingBlocks {
  readonly #blocks: FileHandle;
  readonly #records: FileHandle;
  readonly #slots = new SlotTable();
  readonly #free: number[] = [];
  /** The last put under way of each block: the next one of that block waits for it. */
  readonly #underWay = new Map<number, Promise<void>>();
  #slotCount = 0;
  #sequence = 0;
  #lastPutMs: number | undefined;

  private constructor(blocks: FileHandle, records: FileHandle) {
    this.#blocks = blocks;
    this.#records = records;
  }

  /** Opens the files in a snapshot's folder, and makes them where there are none. */
  static async open(folder: string): Promise<PendingBlocks> {
    const blocks = await open(join(folder, SnapshotFile.Blocks), OPEN_FLAGS, 0o600);
    try {
      const records = await open(join(folder, SnapshotFile.Records), OPEN_FLAGS, 0o600);
      const opened = new PendingBlocks(blocks, records);
      await opened.#load();
      return opened;
    } catch (error) {
      await blocks.close();
      throw error;
    }
  }

  /** Distinct blocks that were put. */
  get count(): number {
    return this.#slots.count;
  }

  /** Puts under way. */
  get underWayCount(): number {
    return this.#underWay.size;
  }

  /** When the last put was, in milliseconds since 1970; undefined before the first. */
  get lastPutMs(): number | undefined {
    return this.#lastPutMs;
  }

  /** Stores a block. Puts of one block happen one after another, the last one called holds. */
  async put(put: BlockPut): Promise<void> {
    const { blockIndex } = put;
    const before = this.#underWay.get(blockIndex) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => this.#put(put));
    this.#underWay.set(blockIndex, mine);
    try {
      await mine;
    } finally {
      if (this.#underWay.get(blockIndex) === mine) this.#underWay.delete(blockIndex);
    }
  }

  /** Waits for the puts under way, and makes every block durable, also against the loss of power. */
  async sync(): Promise<void> {
    await Promise.allSettled(this.#underWay.values());
    await this.#blocks.datasync();
    await this.#records.datasync();
  }

  /** The GiB in which blocks were put, ascending. */
  pageIndexes(): number[] {
    return this.#slots.pageIndexes();
  }

  /** The records of one GiB, ascending by block. @throws when one cannot be read. */
  async *recordsOf(pageIndex: number): AsyncGenerator<SlotEntry & { readonly record: BlockRecord }> {
    const entries = this.#slots.entries(pageIndex);
    if (entries.length === 0) return;
    const window = await this.#readWindow(entries);
    for (const entry of entries) {
      const bytes = window?.bytes ?? (await this.#readRecords(entry.slot, 1));
      const record = decodeRecord(bytes, (entry.slot - (window?.firstSlot ?? entry.slot)) * RECORD_BYTES);
      if (record?.blockIndex !== entry.blockIndex)
        throw new Error(`the record of block ${entry.blockIndex} is damaged`);
      yield { ...entry, record };
    }
  }

  /** All records of some blocks in one read, where they lie close together, as they do after a sequential upload. */
  async #readWindow(
    entries: readonly SlotEntry[],
  ): Promise<{ readonly bytes: Buffer; readonly firstSlot: number } | undefined> {
    let firstSlot = Number.POSITIVE_INFINITY;
    let endSlot = 0;
    for (const { slot } of entries) {
      firstSlot = Math.min(firstSlot, slot);
      endSlot = Math.max(endSlot, slot + 1);
    }
    if (endSlot - firstSlot > WINDOW_RECORDS_MAX) return undefined;
    return { bytes: await this.#readRecords(firstSlot, endSlot - firstSlot), firstSlot };
  }

  async #readRecords(firstSlot: number, count: number): Promise<Buffer> {
    const bytes = Buffer.alloc(count * RECORD_BYTES);
    await readFully(this.#records.fd, bytes, firstSlot * RECORD_BYTES);
    return bytes;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay.values());
    await this.#blocks.close();
    await this.#records.close();
  }

  async #put({ blockIndex, bytes, digest, putAtMs }: BlockPut): Promise<void> {
    const slot = this.#free.pop() ?? this.#slotCount++;
    const sequence = (this.#sequence += 1);
    try {
      if (bytes !== undefined) await writeFully(this.#blocks.fd, bytes, slot * BLOCK_BYTES);
      const record = encodeRecord({ blockIndex, sequence, putAtMs, isZero: bytes === undefined, digest });
      await writeFully(this.#records.fd, record, slot * RECORD_BYTES);
    } catch (error) {
      this.#free.push(slot);
      throw error;
    }
    const replaced = this.#slots.get(blockIndex);
    this.#slots.set(blockIndex, slot);
    if (replaced !== undefined) this.#free.push(replaced);
    this.#lastPutMs = Math.max(this.#lastPutMs ?? 0, putAtMs);
  }

  /** Finds out which slot holds what. A record that was torn was never answered, and its slot is free. */
  async #load(): Promise<void> {
    const { size } = await this.#records.stat();
    this.#slotCount = Math.ceil(size / RECORD_BYTES);
    const sequences = new Float64Array(this.#slotCount);
    const window = Buffer.alloc(RECORDS_PER_READ * RECORD_BYTES);
    for (let first = 0; first < this.#slotCount; first += RECORDS_PER_READ) {
      const count = await readSome(this.#records.fd, window, first * RECORD_BYTES);
      const end = Math.min(first + RECORDS_PER_READ, this.#slotCount);
      for (let slot = first; slot < end; slot++)
        this.#take(slot, decodeRecord(window.subarray(0, count), (slot - first) * RECORD_BYTES), sequences);
    }
  }

  #take(slot: number, record: BlockRecord | undefined, sequences: Float64Array): void {
    if (record === undefined) {
      this.#free.push(slot);
      return;
    }
    sequences[slot] = record.sequence;
    this.#sequence = Math.max(this.#sequence, record.sequence);
    this.#lastPutMs = Math.max(this.#lastPutMs ?? 0, record.putAtMs);
    const other = this.#slots.get(record.blockIndex);
    if (other !== undefined && (sequences[other] ?? 0) > record.sequence) {
      this.#free.push(slot);
      return;
    }
    if (other !== undefined) this.#free.push(other);
    this.#slots.set(record.blockIndex, slot);
  }
}

/** Read and write, made when missing, never cut. */
const OPEN_FLAGS = constants.O_RDWR | constants.O_CREAT;
