import { randomInt } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { EnvironmentError } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';
import {
  decodeSlot,
  decodeState,
  encodeSlot,
  encodeState,
  SLOT_BYTES,
  SLOTS_OFFSET,
  STATE_BYTES,
  type BlockRecord,
} from './journal-layout.js';
import { writeWhole, writeWholeNow } from '../util/whole-write.js';

/** Slots that are read at once: 160 KiB. */
const CHUNK_SLOTS = 4096;
const NONCE_MAX = 2 ** 16;

/**
 * Which blocks have been moved, with their SHA-256, and a small state beside them: what a transfer that was cut off goes
 * on from. Its records say what was done and not what is there: whoever goes on compares them with what there is.
 */
export class DigestJournal {
  readonly #path: string;
  readonly #handle: FileHandle;
  #nonce = 0;
  #sequence = 0;
  #state: unknown;
  /** One past the last block that an earlier run may have a record of. */
  #priorEnd = 0;
  #chunk: { readonly index: number; readonly bytes: Buffer } | undefined;
  readonly #slot = Buffer.alloc(SLOT_BYTES);

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Opens a journal, or makes an empty one. Only its user may read it.
   *
   * @throws {EnvironmentError} in one line.
   */
  static async open(path: string): Promise<DigestJournal> {
    const handle = await openOrMake(path);
    const journal = new DigestJournal(path, handle);
    try {
      await journal.#load();
    } catch (error) {
      await handle.close();
      throw journal.#error('read', error);
    }
    return journal;
  }

  /** What was last given to {@link setState} or {@link restart}; undefined in a new journal, and in one that cannot be read. */
  get state(): unknown {
    return this.#state;
  }

  /** Forgets all records. */
  async restart(state: unknown): Promise<void> {
    this.#chunk = undefined;
    this.#priorEnd = 0;
    const nonce = randomInt(1, NONCE_MAX);
    // Slots of the same nonce would count; one in 65,535 would be drawn again.
    this.#nonce = nonce === this.#nonce ? (nonce % (NONCE_MAX - 1)) + 1 : nonce;
    await this.#attempt('write', () => this.#handle.truncate(SLOTS_OFFSET));
    await this.setState(state);
  }

  /** Replaces the state, durably: after a crash it is the one before or this one. */
  async setState(state: unknown): Promise<void> {
    this.#sequence += 1;
    const bytes = encodeState({ sequence: this.#sequence, nonce: this.#nonce, json: state });
    const position = (this.#sequence % 2) * STATE_BYTES;
    await this.#attempt('write', async () => {
      await writeWhole(this.#handle, bytes, position);
      await this.#handle.datasync();
    });
    this.#state = state;
  }

  /**
   * Writes down what was done with a block. It outlives this process when it returns, which takes some microseconds in which
   * nothing else runs: less than handing so little to another thread.
   *
   * @throws {EnvironmentError} when it cannot be written.
   */
  note(record: BlockRecord): void {
    encodeSlot(record, this.#nonce, this.#slot, 0);
    try {
      writeWholeNow(this.#handle.fd, this.#slot, SLOTS_OFFSET + record.blockIndex * SLOT_BYTES);
    } catch (error) {
      throw this.#error('write', error);
    }
  }

  /** What earlier runs noted of a block. Blocks are asked for in ascending order, more or less. */
  async prior(blockIndex: number): Promise<BlockRecord | undefined> {
    if (blockIndex >= this.#priorEnd) return undefined;
    const chunkIndex = Math.floor(blockIndex / CHUNK_SLOTS);
    if (this.#chunk?.index !== chunkIndex)
      this.#chunk = { index: chunkIndex, bytes: await this.#read(chunkIndex) };
    const at = (blockIndex - chunkIndex * CHUNK_SLOTS) * SLOT_BYTES;
    return decodeSlot(this.#chunk.bytes, at, blockIndex, this.#nonce);
  }

  /** All records that are written, ascending; those of earlier runs alone, or of this one too. */
  async *records(of: 'earlier runs' | 'all runs'): AsyncGenerator<BlockRecord, void> {
    const endBlock = of === 'all runs' ? await this.#endBlock() : this.#priorEnd;
    for (let chunkIndex = 0; chunkIndex * CHUNK_SLOTS < endBlock; chunkIndex += 1) {
      const bytes = await this.#read(chunkIndex);
      const firstBlock = chunkIndex * CHUNK_SLOTS;
      const count = Math.min(CHUNK_SLOTS, endBlock - firstBlock);
      for (let slot = 0; slot < count; slot += 1) {
        const record = decodeSlot(bytes, slot * SLOT_BYTES, firstBlock + slot, this.#nonce);
        if (record !== undefined) yield record;
      }
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** Closes it and removes the file: what it was kept for is done. */
  async remove(): Promise<void> {
    await this.close();
    await this.#attempt('remove', () => rm(this.#path, { force: true }));
  }

  async #load(): Promise<void> {
    const copies = [];
    for (const position of [0, STATE_BYTES]) {
      const bytes = Buffer.alloc(STATE_BYTES);
      const { bytesRead } = await this.#handle.read(bytes, 0, STATE_BYTES, position);
      const copy = decodeState(bytes.subarray(0, bytesRead));
      if (copy !== undefined) copies.push(copy);
    }
    const newest = copies.sort((one, other) => other.sequence - one.sequence)[0];
    if (newest === undefined) return;
    this.#sequence = newest.sequence;
    this.#nonce = newest.nonce;
    this.#state = newest.json;
    this.#priorEnd = await this.#endBlock();
  }

  async #endBlock(): Promise<number> {
    const { size } = await this.#handle.stat();
    return Math.max(0, Math.floor((size - SLOTS_OFFSET) / SLOT_BYTES));
  }

  async #read(chunkIndex: number): Promise<Buffer> {
    const bytes = Buffer.alloc(CHUNK_SLOTS * SLOT_BYTES);
    const position = SLOTS_OFFSET + chunkIndex * bytes.length;
    await this.#attempt('read', () => this.#handle.read(bytes, 0, bytes.length, position));
    return bytes;
  }

  async #attempt<T>(verb: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw this.#error(verb, error);
    }
  }

  #error(verb: string, cause: unknown): EnvironmentError {
    return new EnvironmentError(
      `Cannot ${verb} the journal "${this.#path}": ${systemReason(cause)}. Mend that, or name another folder with --state-dir.`,
      { cause },
    );
  }
}

async function openOrMake(path: string): Promise<FileHandle> {
  try {
    // O_CREAT without O_TRUNC, for reading too.
    return await open(path, 'a+', 0o600).then(async (made) => {
      await made.close();
      return open(path, 'r+');
    });
  } catch (error) {
    throw new EnvironmentError(
      `Cannot open the journal "${path}": ${systemReason(error)}. Name another folder with --state-dir.`,
      { cause: error },
    );
  }
}
