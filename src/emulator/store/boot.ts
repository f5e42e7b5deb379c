import { readFile } from 'node:fs/promises';
import { systemCodeOf } from '../../util/errors.js';
import { replaceFile } from './file-io.js';
import type { StoreLayout } from './layout.js';

// Puts are not synchronised to the disk one by one: the end of a process, however sudden, loses nothing of what it
// wrote. The end of the machine may. So the folder remembers in which boot of the machine a server wrote to it,
// until that server has synchronised everything and says so.

/** Where Linux tells one boot of the machine from the next. */
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

const CLEAN = 'clean';

/** True when writes that a server had not synchronised may be lost: the machine was started anew since. */
export async function mayHaveLostWrites(layout: StoreLayout): Promise<boolean> {
  const noted = await readIfThere(layout.bootFile);
  if (noted === undefined || noted === CLEAN) return false;
  return noted !== (await bootId());
}

/** Notes that a server writes to the folder in this boot. To be called before the first write. */
export async function noteWriting(layout: StoreLayout): Promise<void> {
  await replaceFile(layout.bootFile, await bootId());
}

/** Notes that everything that was written has been synchronised. */
export async function noteSynchronised(layout: StoreLayout): Promise<void> {
  await replaceFile(layout.bootFile, CLEAN);
}

/** Where boots cannot be told apart, each look finds another one, and only a clean end is trusted. */
async function bootId(): Promise<string> {
  return (await readIfThere(BOOT_ID_FILE)) ?? `unknown ${process.pid} ${Date.now()}`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
