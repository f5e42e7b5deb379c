import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';

/** What a mount has made on this machine. It is written before each step, so that all of it can be undone after a crash. */
export interface MountRecord {
  readonly version: 1;
  /** Where it is mounted: an absolute path without links. */
  readonly directory: string;
  readonly snapshotId: string;
  /** The name of the fork that is mounted; null for a snapshot, which is read-only. */
  readonly forkName: string | null;
  /** A folder of its own for the socket and what nbdfuse shows. No other process names it: it tells ours apart. */
  readonly folder: string;
  /** A device of the kernel's nbd driver that is attached, or was about to be; null where there is none. */
  readonly nbdDevice: string | null;
  /** The process that it ends with; null for a mount that stays. */
  readonly ownerPid: number | null;
}

/** The records of one state folder. */
export class MountRecords {
  readonly folder: string;

  constructor(stateDir: string) {
    this.folder = join(resolve(stateDir), 'mounts');
  }

  /** All that can be read; what is wrong with another is told when its directory is asked for. */
  list(): readonly MountRecord[] {
    let names: readonly string[];
    try {
      names = readdirSync(this.folder).filter((name) => name.endsWith('.json'));
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw new EnvironmentError(`Cannot read ${this.folder}: ${systemReason(error)}.`, { cause: error });
    }
    return names.flatMap((name) => {
      try {
        return this.#readFile(join(this.folder, name)) ?? [];
      } catch (error) {
        if (!(error instanceof EnvironmentError)) throw error;
        return [];
      }
    });
  }

  /** @throws {EnvironmentError} when it cannot be kept. */
  write(record: MountRecord): void {
    const path = this.#pathOf(record.directory);
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600, flush: true });
      renameSync(`${path}.new`, path);
    } catch (error) {
      throw new EnvironmentError(`Cannot keep ${path}: ${systemReason(error)}.`, { cause: error });
    }
  }

  /** @returns undefined where nothing is mounted on that directory. @throws {EnvironmentError} when it cannot be read. */
  read(directory: string): MountRecord | undefined {
    const path = this.#pathOf(directory);
    const record = this.#readFile(path);
    if (record === undefined) return undefined;
    if (record?.directory !== directory) {
      throw new EnvironmentError(
        `Cannot use ${path}: it is no record of a mount. Unmount ${directory} with umount, and remove the file.`,
      );
    }
    return record;
  }

  remove(directory: string): void {
    rmSync(this.#pathOf(directory), { force: true });
  }

  /** @returns null for what is no record. */
  #readFile(path: string): MountRecord | null | undefined {
    try {
      return parse(readFileSync(path, 'utf8'));
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw new EnvironmentError(`Cannot read ${path}: ${systemReason(error)}.`, { cause: error });
    }
  }

  #pathOf(directory: string): string {
    return join(this.folder, `${createHash('sha256').update(directory).digest('hex').slice(0, 32)}.json`);
  }
}

function parse(text: string): MountRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  return isRecord(value) ? value : null;
}

function isRecord(value: unknown): value is MountRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    fields.version === 1 &&
    typeof fields.directory === 'string' &&
    typeof fields.snapshotId === 'string' &&
    (fields.forkName === null || typeof fields.forkName === 'string') &&
    typeof fields.folder === 'string' &&
    fields.folder.includes('/snapnbd-mount-') &&
    (fields.nbdDevice === null || typeof fields.nbdDevice === 'string') &&
    (fields.ownerPid === null || typeof fields.ownerPid === 'number')
  );
}
