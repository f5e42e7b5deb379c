import { randomInt } from 'node:crypto';
import { assert } from '../util/assert.js';
import { systemCodeOf } from '../util/errors.js';
import { KIB } from '../util/units.js';
import { decodeRecords } from './journal-decoder.js';
import { encodeFrame, PAYLOAD_BYTES_MAX } from './journal-frame.js';
import { FrameReader } from './journal-reader.js';
import { encodeRecord, RecordType, type JournalRecord } from './journal-record.js';
import { JournalError } from './staging-error.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

/** The file, and the one that is about to replace it. */
export const JOURNAL_NAME = 'journal';
export const NEW_JOURNAL_NAME = 'journal.new';

/** Zeros are written so far ahead: appends then change no metadata of the file, and a full disk does not stop them. */
const RESERVE_BYTES = 1024 * KIB;
/** The journal is written anew when it is this large and twice as large as after the last time. */
const COMPACT_BYTES_MIN = 32 * 1024 * KIB;

/** The append-only file that says what of the data files is valid, and how far a commit has come. */
export class Journal {
  readonly #folder: StagingFolder;
  #file: StagingFile;
  #fileId: number;
  #nextFrame: number;
  /** Where the next frame goes. */
  #end: number;
  /** Up to here the file has been filled with zeros ahead of time. */
  #reservedEnd: number;
  #compactedBytes: number;

  private constructor(folder: StagingFolder, file: StagingFile, place: JournalPlace) {
    this.#folder = folder;
    this.#file = file;
    this.#fileId = place.fileId;
    this.#nextFrame = place.nextFrame;
    this.#end = place.end;
    this.#reservedEnd = place.end;
    this.#compactedBytes = place.end;
  }

  /** Writes a journal where there was none. */
  static async create(folder: StagingFolder, records: Iterable<JournalRecord>): Promise<Journal> {
    const { file, place } = await writeCheckpoint(folder, records);
    return new Journal(folder, file, place);
  }

  /**
   * Reads a journal to its end, and is ready to append to it. What was torn off at the end is forgotten.
   *
   * @param apply is given each record.
   * @throws {JournalError} when it is damaged otherwise, or of another version; ENOENT when there is none.
   */
  static async open(folder: StagingFolder, apply: (record: JournalRecord) => void): Promise<Journal> {
    const file = await folder.open(JOURNAL_NAME, { create: false });
    try {
      return new Journal(folder, file, await replay(folder, file, apply));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Reads a journal that may be in use by another process, without changing anything. Throws like {@link open}. */
  static async inspect(folder: StagingFolder, apply: (record: JournalRecord) => void): Promise<void> {
    const journal = await Journal.open(folder, apply);
    await journal.close();
  }

  /** True when it is worth the while to call {@link compact}. */
  get wantsCompaction(): boolean {
    return this.#end > COMPACT_BYTES_MIN && this.#end > 2 * this.#compactedBytes;
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /**
   * Appends records and makes them durable, in frames of at most a MiB; a record never spans two.
   *
   * @throws the system's error when they were not written, and may be appended again; {JournalError} when nobody can
   * say what is on the disk.
   */
  async append(records: readonly JournalRecord[]): Promise<void> {
    for (const payload of payloadsOf(records.map(encodeRecord))) {
      const frame = encodeFrame(this.#fileId, this.#nextFrame, payload);
      await this.#reserve(frame.length);
      await this.#file.write(frame, this.#end);
      await syncOrDoubt(this.#file, this.#folder);
      this.#end += frame.length;
      this.#nextFrame += 1;
    }
  }

  /**
   * Writes the journal anew, from records that say all of it, and makes it durable. They are all taken before the
   * first wait.
   *
   * @throws the system's error, and the old one goes on; {JournalError} when nobody knows which of them is there.
   */
  async compact(records: Iterable<JournalRecord>): Promise<void> {
    const { file, place } = await writeCheckpoint(this.#folder, records);
    const old = this.#file;
    this.#file = file;
    this.#fileId = place.fileId;
    this.#nextFrame = place.nextFrame;
    this.#end = place.end;
    this.#reservedEnd = place.end;
    this.#compactedBytes = place.end;
    await old.close();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  // Only whoever runs into the end needs the room; that there is none to spare is no reason to fail.
  async #reserve(frameBytes: number): Promise<void> {
    if (this.#end + frameBytes <= this.#reservedEnd) return;
    const from = this.#end + frameBytes;
    try {
      await this.#file.write(Buffer.alloc(RESERVE_BYTES), from);
      this.#reservedEnd = from + RESERVE_BYTES;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      this.#reservedEnd = from;
    }
  }
}

/** Where a journal goes on. */
interface JournalPlace {
  readonly fileId: number;
  readonly nextFrame: number;
  readonly end: number;
}

async function replay(
  folder: StagingFolder,
  file: StagingFile,
  apply: (record: JournalRecord) => void,
): Promise<JournalPlace> {
  const reader = await FrameReader.open(file);
  let isCheckpointRead = false;
  for (let frame = await reader.next(); frame !== undefined; frame = await reader.next()) {
    try {
      for (const record of decodeRecords(frame.payload)) {
        apply(record);
        if (record.type === RecordType.CheckpointEnd) isCheckpointRead = true;
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw damaged(
        folder,
        `frame ${frame.frameNumber} has ${error.message}, which this version does not know`,
      );
    }
  }
  const { fileId } = reader;
  if (fileId === undefined || !isCheckpointRead) throw damaged(folder, 'its beginning is damaged');
  const later = await reader.findLaterFrame();
  if (later !== undefined) {
    throw damaged(folder, `it is damaged at byte ${reader.end}, and goes on at byte ${later}`);
  }
  return { fileId, nextFrame: reader.nextFrame, end: reader.end };
}

function damaged(folder: StagingFolder, reason: string): JournalError {
  return new JournalError(
    `Cannot read the journal in ${folder.path}: ${reason}. Nothing was changed: copy the folder, restore it from a ` +
      `backup of the same moment as the data files, or give up what was not committed with "snapnbd discard".`,
  );
}

async function writeCheckpoint(
  folder: StagingFolder,
  records: Iterable<JournalRecord>,
): Promise<{ readonly file: StagingFile; readonly place: JournalPlace }> {
  // Before anything is waited for, as the records describe this moment.
  const payloads = [...payloadsOf(encodeAll(records))];
  const fileId = randomInt(2 ** 32);
  await folder.remove(NEW_JOURNAL_NAME);
  const file = await folder.open(NEW_JOURNAL_NAME, { create: true });
  let nextFrame = 0;
  let end = 0;
  let isRenaming = false;
  try {
    for (const payload of payloads) {
      const frame = encodeFrame(fileId, nextFrame, payload);
      await file.write(frame, end);
      nextFrame += 1;
      end += frame.length;
    }
    await file.write(Buffer.alloc(RESERVE_BYTES), end);
    await file.sync();
    isRenaming = true;
    await folder.rename(NEW_JOURNAL_NAME, JOURNAL_NAME);
    await folder.sync();
    return { file, place: { fileId, nextFrame, end } };
  } catch (error) {
    await file.close();
    if (isRenaming) throw doubt(folder, error);
    await folder.remove(NEW_JOURNAL_NAME);
    throw error;
  }
}

function* encodeAll(records: Iterable<JournalRecord>): Generator<Uint8Array, void> {
  for (const record of records) yield encodeRecord(record);
  yield encodeRecord({ type: RecordType.CheckpointEnd });
}

/** Joins records into payloads that fit into a frame. */
function* payloadsOf(records: Iterable<Uint8Array>): Generator<Buffer, void> {
  let parts: Uint8Array[] = [];
  let lengthBytes = 0;
  for (const record of records) {
    assert(record.length <= PAYLOAD_BYTES_MAX, `a journal record of ${record.length} bytes`);
    if (lengthBytes + record.length > PAYLOAD_BYTES_MAX) {
      yield Buffer.concat(parts, lengthBytes);
      parts = [];
      lengthBytes = 0;
    }
    parts.push(record);
    lengthBytes += record.length;
  }
  if (lengthBytes > 0) yield Buffer.concat(parts, lengthBytes);
}

/** @throws {JournalError} when the system could not say that it is durable: what is on the disk is then anybody's guess. */
export async function syncOrDoubt(file: Pick<StagingFile, 'sync'>, folder: StagingFolder): Promise<void> {
  try {
    await file.sync();
  } catch (error) {
    throw doubt(folder, error);
  }
}

/** The error for a folder of which nobody knows what it holds. */
export function doubt(folder: StagingFolder, error: unknown): JournalError {
  const reason = error instanceof Error ? error.message : String(error);
  return new JournalError(
    `Cannot make changes in ${folder.path} durable: ${reason}. What was flushed before is safe; nothing more is taken ` +
      `until the server is started again. Check the disk first.`,
    { cause: error },
  );
}
