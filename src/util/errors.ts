/**
 * The root of the errors that users are meant to read: the message is one line, names the values concerned,
 * and ends with what to do where there is something to do.
 */
export class SnapnbdError extends Error {
  override readonly name: string = 'SnapnbdError';
}

/** A mistake in how the program was called: an unknown option, a malformed value. Exit status 2. */
export class UsageError extends SnapnbdError {
  override readonly name = 'UsageError';
}

/** Something outside of the program stops it from going on: a port in use, no credentials. Exit status 1. */
export class EnvironmentError extends SnapnbdError {
  override readonly name = 'EnvironmentError';
}

/** The message of anything that was thrown, on one line. */
export function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
  return text.replace(/\s*[\r\n]+\s*/g, ' ').trim();
}

/** The `code` of a Node.js system error (`ECONNREFUSED`, `ENOSPC`), or undefined. */
export function systemCodeOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
