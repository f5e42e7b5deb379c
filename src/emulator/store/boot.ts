import { readFile } from 'node:fs/promises';
import { systemCodeOf } from '../../util/errors.js';
import { replaceFile } from './file-io.js';
import type { StoreLayout } from './layout.js';

/** Where Linux tells one boot of the machine from the next. */
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/**
 * True when the machine may have been started anew since a server last wrote to the folder: then what the system
 * had not written to the disk yet may be lost, whereas the end of a process alone loses nothing.
 */
export async function hasRebooted(layout: StoreLayout): Promise<boolean> {
  const now = await readIfThere(BOOT_ID_FILE);
  return now === undefined || now !== (await readIfThere(layout.bootFile));
}

/** Notes that what is in the folder was checked, or written, in this boot. */
export async function rememberBoot(layout: StoreLayout): Promise<void> {
  const now = await readIfThere(BOOT_ID_FILE);
  if (now !== undefined) await replaceFile(layout.bootFile, now);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
