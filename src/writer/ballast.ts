import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../util/errors.js';
import { KIB } from '../util/units.js';

/** The file, in the folder of a fork. */
export const BALLAST_NAME = 'ballast';
/** For a lock file, and for whoever else takes some of it meanwhile. */
const BALLAST_BYTES = 64 * KIB;

/** Keeps some room on the disk, where there is any, for {@link withBallast}. */
export async function keepBallast(folder: string): Promise<void> {
  const path = join(folder, BALLAST_NAME);
  try {
    await writeFile(path, Buffer.alloc(BALLAST_BYTES), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    // There is one, or no room for a whole one.
    if (systemCodeOf(error) !== 'EEXIST') await rm(path, { force: true });
  }
}

/**
 * Does something that needs a little room, with the room that was kept where the disk is full: or a fork that has filled it
 * could not be opened again, and so not be committed, which is what makes room.
 *
 * @throws what `task` throws, the second time where it was tried twice.
 */
export async function withBallast<T>(folder: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    await rm(join(folder, BALLAST_NAME), { force: true });
    return task();
  }
}
