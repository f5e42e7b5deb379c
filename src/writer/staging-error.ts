import { SnapnbdError } from '../util/errors.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

/** Nobody can say any more what is on the disk, or what a journal means: nothing is written until a person has looked. */
export class JournalError extends SnapnbdError {
  override readonly name = 'JournalError';
}

/** A commit cannot be made, or not finished. */
export class CommitError extends SnapnbdError {
  override readonly name: string = 'CommitError';
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
