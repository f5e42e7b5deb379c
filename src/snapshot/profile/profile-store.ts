import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';
import { PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE } from '../disk/cache-folder.js';
import { keyOf } from '../disk/index-entry.js';
import {
  decodeProfile,
  encodeProfile,
  PROFILE_BYTES_MAX,
  ProfileFormatError,
  type ReadProfile,
} from './read-profile.js';

/** Another format would have another name. */
const PROFILES_FOLDER = 'profiles-v1';

/** The oldest are removed. */
const PROFILES_MAX = 256;
const SERVICE_HEX_DIGITS = 8;
const NAME = /^[0-9a-f]{8}-snap-[0-9a-f]+\.json$/;

/**
 * Profiles of snapshots of one service, a file each. Written at once and whole, so that whoever is killed leaves the one
 * before; of several processes the last one wins.
 */
export class ProfileStore {
  readonly #folder: string;
  readonly #service: string;

  /**
   * @param dir of the disk cache, or wherever state is kept; made when the first profile is.
   * @param service ids are unique within one only.
   */
  constructor(dir: string, service: string) {
    this.#folder = join(dir, PROFILES_FOLDER);
    this.#service = keyOf('service', service).toString('hex').slice(0, SERVICE_HEX_DIGITS);
  }

  /** The profile of a snapshot. @throws {EnvironmentError} when there is a file that is none, or cannot be read. */
  load(snapshotId: string): ReadProfile | undefined {
    const path = this.#pathOf(snapshotId);
    try {
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats === undefined) return undefined;
      if (stats.size > PROFILE_BYTES_MAX) throw new ProfileFormatError('it is too long for a profile');
      return decodeProfile(readFileSync(path, 'utf8'));
    } catch (error) {
      const reason = error instanceof ProfileFormatError ? error.message : systemReason(error);
      throw new EnvironmentError(
        `Cannot use the profile ${path}: ${reason}. Remove it, and record another one.`,
        {
          cause: error,
        },
      );
    }
  }

  /** Snapshots that there are profiles of, the latest first. @throws {EnvironmentError} when that cannot be told. */
  list(): readonly string[] {
    return this.#names()
      .filter((name) => name.startsWith(`${this.#service}-`))
      .map((name) => name.slice(SERVICE_HEX_DIGITS + 1, -'.json'.length));
  }

  /** Keeps a profile in place of the one before. @throws {EnvironmentError} when that fails. */
  save(profile: ReadProfile): void {
    try {
      mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
      if (lstatSync(this.#folder).isSymbolicLink())
        throw new Error('it is a symbolic link. Name the folder itself');
      const path = this.#pathOf(profile.snapshotId);
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, encodeProfile(profile), { mode: PRIVATE_FILE_MODE });
      renameSync(temporary, path);
      for (const name of this.#names().slice(PROFILES_MAX)) unlinkSync(join(this.#folder, name));
    } catch (error) {
      throw new EnvironmentError(`Cannot keep the profile in ${this.#folder}: ${systemReason(error)}.`, {
        cause: error,
      });
    }
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#folder)
        .filter((name) => NAME.test(name))
        .map((name) => ({
          name,
          at: statSync(join(this.#folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
        }))
        .sort((a, b) => b.at - a.at)
        .map(({ name }) => name);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw new EnvironmentError(`Cannot look for profiles in ${this.#folder}: ${systemReason(error)}.`, {
        cause: error,
      });
    }
  }

  #pathOf(snapshotId: string): string {
    return join(this.#folder, `${this.#service}-${snapshotId}.json`);
  }
}
