import { lstatSync, mkdirSync, chmodSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { EnvironmentError, messageOf } from '../../util/errors.js';

/** Everything is in it, so that another layout can be told apart. */
const LAYOUT_FOLDER = 'blocks-v1';

/** The files are somebody's disk: nobody else may look into them. */
export const PRIVATE_FILE_MODE = 0o600;
export const PRIVATE_FOLDER_MODE = 0o700;
const OTHERS_MAY_WRITE = 0o022;

/**
 * Makes the folder of a disk cache, or checks the one that is there: a real folder of this user, into which nobody else
 * can put anything.
 *
 * @returns the path of the folder that the files go to.
 * @throws {EnvironmentError} in one line when it cannot be used.
 */
export function prepareCacheFolder(dir: string): string {
  try {
    mkdirSync(dir, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const stats = checkOwned(dir, lstatSync(dir));
    if ((stats.mode & OTHERS_MAY_WRITE) !== 0) {
      throw refusal(dir, 'others may write to it. "chmod 700" it, or name another folder');
    }
    const inner = join(dir, LAYOUT_FOLDER);
    mkdirSync(inner, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    checkOwned(inner, lstatSync(inner));
    chmodSync(inner, PRIVATE_FOLDER_MODE);
    return inner;
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw refusal(dir, messageOf(error), error);
  }
}

function checkOwned(dir: string, stats: Stats): Stats {
  if (stats.isSymbolicLink()) throw refusal(dir, 'it is a symbolic link. Name the folder itself');
  if (!stats.isDirectory()) throw refusal(dir, 'it is not a folder');
  const user = process.getuid?.();
  if (user !== undefined && stats.uid !== user) {
    throw refusal(dir, `it belongs to the user ${stats.uid}, not to ${user}. Name a folder of your own`);
  }
  return stats;
}

function refusal(dir: string, reason: string, cause?: unknown): EnvironmentError {
  return new EnvironmentError(`Cannot keep blocks in "${dir}": ${reason}.`, { cause });
}
