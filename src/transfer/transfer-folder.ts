import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';
import { ForkLock } from '../writer/fork-lock.js';
import { DigestJournal } from './digest-journal.js';

const JOURNAL_NAME = 'journal';
/** AWS cancels pending snapshots after three days at most; a download may wait longer for its disk. */
const FORGOTTEN_AFTER_MS = 30 * 86_400_000;

/** The place where one transfer keeps what it goes on from, which no other process has meanwhile. */
export interface TransferFolder {
  readonly path: string;
  readonly journal: DigestJournal;
  /** Forgets everything: the transfer is done. */
  done(): Promise<void>;
  /** Leaves the journal to the next run. */
  leave(): Promise<void>;
}

/**
 * Opens the folder of a transfer: the same names give the same folder.
 *
 * @param stateDir made when it is missing.
 * @param names what makes this transfer the one it is, such as where from and where to.
 * @param subject for messages: what is being moved.
 * @throws {EnvironmentError} when another process is at it, or the folder cannot be used.
 */
export async function openTransferFolder(
  stateDir: string,
  names: readonly (string | null)[],
  subject: string,
): Promise<TransferFolder> {
  const all = join(resolve(stateDir), 'transfers');
  const path = join(all, createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 32));
  try {
    await makeFolder(all);
    await removeForgotten(all);
    await makeFolder(path);
  } catch (error) {
    throw new EnvironmentError(
      `Cannot use the state folder "${stateDir}": ${systemReason(error)}. Name another one with --state-dir.`,
      { cause: error },
    );
  }
  const lock = await ForkLock.take(path, `snapnbd ${names[0] ?? ''}`, subject);
  let journal: DigestJournal;
  try {
    journal = await DigestJournal.open(join(path, JOURNAL_NAME));
  } catch (error) {
    await lock.release();
    throw error;
  }
  const done = async (): Promise<void> => {
    await journal.remove();
    await lock.release();
    // Somebody may be taking the lock, who is left with the folder.
    await rmdir(path).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'ENOTEMPTY') throw error;
    });
  };
  const leave = async (): Promise<void> => {
    await journal.close();
    await lock.release();
  };
  // Without a state there is nothing to go on from.
  return { path, journal, done, leave: () => (journal.state === undefined ? done() : leave()) };
}

/** With those above it. Not by `recursive`, which never ends where none can be made, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  const above = dirname(path);
  if (above !== path) await makeFolder(above);
  await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  });
}

/** Transfers that nobody went on with for long. A folder without a journal is one that is just being made, or unmade. */
async function removeForgotten(all: string): Promise<void> {
  for (const name of await readdir(all)) {
    const path = join(all, name);
    try {
      const { mtimeMs } = await stat(join(path, JOURNAL_NAME));
      if (Date.now() - mtimeMs > FORGOTTEN_AFTER_MS) await rm(path, { recursive: true, force: true });
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
    }
  }
}
