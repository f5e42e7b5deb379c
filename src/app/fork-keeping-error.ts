import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'Make room there',
  EDQUOT: 'Make room there',
  EROFS: 'Mount it for writing',
  EACCES: 'Give this user the right to write there',
  EPERM: 'Give this user the right to write there',
};

/**
 * What is told when the system does not let a fork be kept: why, and what to do about that.
 *
 * @param path the folder of the fork.
 * @param error of the system, with its `code`.
 */
export function keepingError(name: string, path: string, error: unknown): EnvironmentError {
  const advice = ADVICE[systemCodeOf(error) ?? ''];
  const another = `${advice === undefined ? 'Name' : `${advice}, or name`} another folder with --state-dir.`;
  return new EnvironmentError(
    `Cannot keep the fork "${name}" in ${path}: ${systemReason(error)}. ${another}`,
    { cause: error },
  );
}
