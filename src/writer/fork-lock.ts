import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { withBallast } from './ballast.js';
import { Liveness, livenessOf, ownIdentity, type ProcessIdentity } from './process-identity.js';

const LOCK_NAME = 'lock';
const SUCCESSION_PREFIX = 'lock.after-';
/** More contenders than anybody starts; each try is one of them winning. */
const TRIES_MAX = 100;

/** What a lock file says. */
interface LockHolder extends ProcessIdentity {
  /** Of this one acquisition. */
  readonly nonce: string;
  /** What the holder does, for people: "snapnbd serve". */
  readonly purpose: string;
}

/** What is left of a lock file after a power cut: its holder is gone with the run of the machine. */
const TORN_HOLDER: LockHolder = {
  pid: 0,
  startTime: '',
  bootId: 'gone',
  pidNamespace: '',
  nonce: 'torn',
  purpose: 'unknown',
};

/**
 * Lets one process at a time have a folder. There is no flock in Node.js; this is a file that is made by `link`, which fails
 * where there is one. The lock of a process that is gone is taken over by whoever wins a second file, named after the lock
 * that it replaces: that can be won once only, so two that see the same stale lock cannot both get it.
 */
export class ForkLock {
  readonly #folder: string;
  readonly #holder: LockHolder;

  private constructor(folder: string, holder: LockHolder) {
    this.#folder = folder;
    this.#holder = holder;
  }

  /**
   * Takes the lock.
   *
   * @param purpose what this process does, which others are told.
   * @param subject for the message: what is locked.
   * @throws {EnvironmentError} when another process has it, with its pid.
   */
  static async take(folder: string, purpose: string, subject: string): Promise<ForkLock> {
    const holder: LockHolder = { ...ownIdentity(), nonce: randomUUID(), purpose };
    const own = join(folder, `lock.of-${holder.nonce}`);
    await withBallast(folder, () => writeFile(own, JSON.stringify(holder), { mode: 0o600 }));
    try {
      for (let tries = 0; tries < TRIES_MAX; tries += 1) {
        if (await contend(folder, own, subject)) return new ForkLock(folder, holder);
      }
    } finally {
      await rm(own, { force: true });
    }
    throw new EnvironmentError(`Cannot use ${subject}: too many processes want it at once. Try again.`);
  }

  /** Gives the lock back. */
  async release(): Promise<void> {
    const found = await readHolder(join(this.#folder, LOCK_NAME));
    if (found?.nonce === this.#holder.nonce) await rm(join(this.#folder, LOCK_NAME), { force: true });
  }
}

/** Returns whether the lock is ours; false: it changed hands meanwhile, try again. */
async function contend(folder: string, own: string, subject: string): Promise<boolean> {
  const lock = join(folder, LOCK_NAME);
  if (await tryLink(own, lock)) return true;
  const first = await readHolder(lock);
  if (first === undefined) return false;
  // Whoever is to follow the holder may itself have died before it did.
  let last = first;
  for (let depth = 0; depth < TRIES_MAX; depth += 1) {
    refuseLiving(last, subject);
    const succession = join(folder, SUCCESSION_PREFIX + last.nonce);
    if (await tryLink(own, succession)) {
      // A late comer may have won the succession of a lock that has been replaced already.
      if ((await readHolder(lock))?.nonce !== first.nonce) {
        await rm(succession, { force: true });
        return false;
      }
      await rename(own, lock);
      await removeSuccessions(folder);
      return true;
    }
    const next = await readHolder(succession);
    if (next === undefined) return false;
    last = next;
  }
  return false;
}

function refuseLiving(holder: LockHolder, subject: string): void {
  const liveness = livenessOf(holder);
  if (liveness === Liveness.Gone) return;
  const who = `process ${holder.pid} (${holder.purpose})`;
  throw new EnvironmentError(
    liveness === Liveness.Alive
      ? `Cannot use ${subject}: ${who} has it. Stop that one first.`
      : `Cannot use ${subject}: ${who} of another container had it, and cannot be seen from here. If it is gone for sure, remove the file "lock" in its folder.`,
  );
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as LockHolder;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    if (error instanceof SyntaxError) return TORN_HOLDER;
    throw error;
  }
}

async function removeSuccessions(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(SUCCESSION_PREFIX)) await rm(join(folder, name), { force: true });
  }
}
