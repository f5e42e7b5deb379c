import { EnvironmentError } from '../../util/errors.js';

/** More users than anybody writes by hand, and few enough to look through. */
const USERS_MAX = 10_000;

/**
 * Reads the file that `psktool` writes: a line `user:hexkey` for each user.
 *
 * @param path for messages; the keys never go into one.
 * @returns the keys by user.
 * @throws {EnvironmentError} when a line is not of this form.
 */
export function parsePskFile(text: string, path: string): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>();
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '') return;
    const match = /^([^:]+):((?:[0-9a-fA-F]{2})+)\s*$/.exec(line);
    const user = match?.[1];
    const key = match?.[2];
    if (user === undefined || key === undefined) {
      throw new EnvironmentError(
        `Cannot use the keys in ${path}: line ${index + 1} is not user:hexkey, as psktool writes it.`,
      );
    }
    if (keys.has(user)) {
      throw new EnvironmentError(`Cannot use the keys in ${path}: line ${index + 1} repeats a user.`);
    }
    keys.set(user, Buffer.from(key, 'hex'));
  });
  if (keys.size === 0 || keys.size > USERS_MAX) {
    throw new EnvironmentError(
      `Cannot use the keys in ${path}: there are ${keys.size} users in it, where 1 to ${USERS_MAX} are possible.`,
    );
  }
  return keys;
}
