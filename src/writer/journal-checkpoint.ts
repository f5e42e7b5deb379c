import { randomInt } from 'node:crypto';
import { KIB } from '../util/units.js';
import { FrameWriter } from './frame-writer.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { doubt } from './staging-error.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

/** The file, and the one that is about to replace it. */
export const JOURNAL_NAME = 'journal';
export const NEW_JOURNAL_NAME = 'journal.new';

/** Zeros are written so far ahead: appends then change no metadata of the file, and a full disk does not stop them. */
export const RESERVE = Buffer.alloc(1024 * KIB);

/** Where a journal goes on. */
export interface JournalPlace {
  readonly fileId: number;
  readonly nextFrame: number;
  readonly end: number;
}

/** The frames of a journal that says all that there is to say at one moment. */
export interface Checkpoint {
  readonly fileId: number;
  readonly frames: readonly Buffer[];
}

/** Encodes records that say all of it. */
export function checkpointOf(records: Iterable<JournalRecord>): Checkpoint {
  const fileId = randomInt(2 ** 32);
  const frames: Buffer[] = [];
  for (const frame of new FrameWriter().frames(withEnd(records), fileId, 0)) frames.push(Buffer.from(frame));
  return { fileId, frames };
}

/**
 * Durably replaces the journal of a folder, if there is one.
 *
 * @throws the system's error, and the old one goes on; {JournalError} when nobody knows which of them is there.
 */
export async function writeCheckpoint(
  folder: StagingFolder,
  { fileId, frames }: Checkpoint,
): Promise<{ readonly file: StagingFile; readonly place: JournalPlace }> {
  await folder.remove(NEW_JOURNAL_NAME);
  const file = await folder.open(NEW_JOURNAL_NAME, { create: true });
  let end = 0;
  let isRenaming = false;
  try {
    for (const frame of frames) {
      await file.write(frame, end);
      end += frame.length;
    }
    await file.write(RESERVE, end);
    await file.sync();
    isRenaming = true;
    await folder.rename(NEW_JOURNAL_NAME, JOURNAL_NAME);
    await folder.sync();
    return { file, place: { fileId, nextFrame: frames.length, end } };
  } catch (error) {
    await file.close();
    if (isRenaming) throw doubt(folder, error);
    await folder.remove(NEW_JOURNAL_NAME);
    throw error;
  }
}

function* withEnd(records: Iterable<JournalRecord>): Generator<JournalRecord, void> {
  yield* records;
  yield { type: RecordType.CheckpointEnd };
}
