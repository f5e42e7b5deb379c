import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { systemCodeOf, UsageError } from '../util/errors.js';
import { keepBallast } from './ballast.js';
import { JOURNAL_NAME } from './journal-checkpoint.js';

/** Longer names go by their hash: a file name has at most 255 bytes. */
const PLAIN_NAME_LENGTH_MAX = 150;

/** Where forks are kept when nobody says otherwise: `$XDG_STATE_HOME/snapnbd`, else `~/.local/state/snapnbd`. */
export function defaultStateDir(environment: Readonly<Record<string, string | undefined>>): string {
  const home = environment.XDG_STATE_HOME;
  // A relative one is to be ignored, by the rules of XDG.
  return home !== undefined && isAbsolute(home)
    ? join(home, 'snapnbd')
    : join(homedir(), '.local', 'state', 'snapnbd');
}

/** The folders of the forks below a state folder. */
export class ForkFolders {
  readonly #dir: string;

  /** @param stateDir made when it is first needed, 0700. */
  constructor(stateDir: string) {
    this.#dir = join(resolve(stateDir), 'forks');
  }

  /** The folder of a fork, which there may not be. */
  pathOf(name: string): string {
    const plain = encodeURIComponent(name).replace(
      /[.*'()~]/g,
      (found) => `%${found.charCodeAt(0).toString(16)}`,
    );
    if (plain.length <= PLAIN_NAME_LENGTH_MAX) return join(this.#dir, plain);
    return join(this.#dir, `~${createHash('sha256').update(name).digest('hex')}`);
  }

  /** Makes the folder of a fork, and keeps a little room in it. */
  async make(name: string): Promise<string> {
    const path = this.pathOf(name);
    await makeFolder(path);
    await keepBallast(path);
    return path;
  }

  /** True when there is a fork of this name; one that was never finished making is none. */
  async has(name: string): Promise<boolean> {
    return hasJournal(this.pathOf(name));
  }

  /** The folders of all forks. */
  async list(): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#dir);
      const paths = names.sort().map((name) => join(this.#dir, name));
      const found = await Promise.all(paths.map(hasJournal));
      return paths.filter((_, index) => found[index]);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  /** Removes the folder of a fork and everything in it. The journal goes first: without it there is no fork. */
  async remove(name: string): Promise<void> {
    const path = this.pathOf(name);
    await rm(join(path, JOURNAL_NAME), { force: true });
    await rm(path, { recursive: true, force: true });
  }

  /** @throws {UsageError} when there is no fork of this name. */
  async require(name: string): Promise<string> {
    if (await this.has(name)) return this.pathOf(name);
    throw new UsageError(
      `Cannot find a fork named "${name}" in ${this.#dir}: "snapnbd forks" lists those that there are.`,
    );
  }
}

/** With those above it, also while others make them. Not by `recursive`, which never ends where none can be made, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  if (await tryMake(path)) return;
  await makeFolder(dirname(path));
  if (!(await tryMake(path))) await mkdir(path, { mode: 0o700 });
}

/** Returns false when the one above it is missing. */
async function tryMake(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') return true;
    if (code !== 'ENOENT') throw error;
    return false;
  }
}

async function hasJournal(folder: string): Promise<boolean> {
  try {
    await stat(join(folder, JOURNAL_NAME));
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}
