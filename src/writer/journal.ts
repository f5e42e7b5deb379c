import { systemCodeOf } from '../util/errors.js';
import { MIB } from '../util/units.js';
import { FrameWriter } from './frame-writer.js';
import {
  checkpointOf,
  JOURNAL_NAME,
  RESERVE,
  writeCheckpoint,
  type Checkpoint,
  type JournalPlace,
} from './journal-checkpoint.js';
import { decodeRecords } from './journal-decoder.js';
import { FrameReader } from './journal-reader.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { JournalError, syncOrDoubt } from './staging-error.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

/** The journal is written anew when it is this large and twice as large as after the last time. */
const COMPACT_BYTES_MIN = 32 * MIB;

/** The append-only file that says what of the data files is valid, and how far a commit has come. */
export class Journal {
  readonly #folder: StagingFolder;
  readonly #writer = new FrameWriter();
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
    const { file, place } = await writeCheckpoint(folder, checkpointOf(records));
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
    for (const frame of this.#writer.frames(records, this.#fileId, this.#nextFrame)) {
      await this.#reserve(frame.length);
      await this.#file.write(frame, this.#end);
      await syncOrDoubt(this.#file, this.#folder);
      this.#end += frame.length;
      this.#nextFrame += 1;
    }
  }

  /**
   * Writes the journal anew, and makes it durable. Nothing may be appended meanwhile.
   *
   * @throws the system's error, and the old one goes on; {JournalError} when nobody knows which of them is there.
   */
  async compact(checkpoint: Checkpoint): Promise<void> {
    const { file, place } = await writeCheckpoint(this.#folder, checkpoint);
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
      await this.#file.write(RESERVE, from);
      this.#reservedEnd = from + RESERVE.length;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      this.#reservedEnd = from;
    }
  }
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
