import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import {
  decodeProfile,
  encodeProfile,
  PROFILE_BYTES_MAX,
  ProfileFormatError,
} from '../snapshot/profile/read-profile.js';
import { EnvironmentError, UsageError } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';
import { checkSnapshotId } from './export-spec.js';
import { profileStoreOf, type ProfilePlace } from './profile-keeping.js';

/**
 * Gives the profile of a snapshot as text, or writes it to a file.
 *
 * @param path `-`: it is returned instead.
 * @throws {UsageError} for what is no snapshot id; {EnvironmentError} when there is none, or the file cannot be written.
 */
export function exportProfile(snapshotId: string, path: string, place: ProfilePlace): string | undefined {
  const profile = profileStoreOf(place).load(checkSnapshotId(snapshotId));
  if (profile === undefined) {
    throw new EnvironmentError(
      `Cannot export a profile of ${snapshotId}: there is none. Record one with "snapnbd serve --profile save", and name the same --cache-dir or --state-dir.`,
    );
  }
  const text = encodeProfile(profile);
  if (path === '-') return text;
  try {
    writeFileSync(path, text, { mode: 0o600 });
  } catch (error) {
    throw new EnvironmentError(`Cannot write the profile to "${path}": ${systemReason(error)}.`, {
      cause: error,
    });
  }
  return undefined;
}

/** What was imported. */
export interface ImportedProfile {
  readonly snapshotId: string;
  readonly blockCount: number;
}

/**
 * Takes a profile in, from a file that may come from anywhere.
 *
 * @param path `-`: standard input.
 * @throws {UsageError} when it is no profile; {EnvironmentError} when it cannot be read, or kept.
 */
export function importProfile(path: string, place: ProfilePlace): ImportedProfile {
  try {
    const profile = decodeProfile(readBounded(path));
    profileStoreOf(place).save(profile);
    return { snapshotId: profile.snapshotId, blockCount: profile.blocks.length };
  } catch (error) {
    if (error instanceof ProfileFormatError)
      throw new UsageError(`Cannot import "${path}": ${error.message}.`, { cause: error });
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(`Cannot read "${path}": ${systemReason(error)}.`, { cause: error });
  }
}

/** As much as a profile can have and a byte more, of a file that may be endless. */
function readBounded(path: string): string {
  const file = path === '-' ? 0 : openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(PROFILE_BYTES_MAX + 1);
    let lengthBytes = 0;
    while (lengthBytes < bytes.length) {
      const readBytes = readSync(file, bytes, lengthBytes, bytes.length - lengthBytes, null);
      if (readBytes === 0) break;
      lengthBytes += readBytes;
    }
    return bytes.toString('utf8', 0, lengthBytes);
  } finally {
    if (file !== 0) closeSync(file);
  }
}
