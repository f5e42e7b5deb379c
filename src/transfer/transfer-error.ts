import { EnvironmentError } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';

/** How every message ends about a transfer that can go on. */
export const GOES_ON = 'Run the same command again: it goes on where it was.';

/** A call of the system about an image or a device failed. `Cannot VERB "PATH": REASON. WHAT TO DO` */
export function imageError(verb: string, path: string, cause: unknown): EnvironmentError {
  return new EnvironmentError(`Cannot ${verb} "${path}": ${systemReason(cause)}.${adviceOf(cause)}`, {
    cause,
  });
}

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: ` Make room. ${GOES_ON}`,
  EDQUOT: ` Make room, or have the quota raised. ${GOES_ON}`,
  EFBIG: ' Files of this file system cannot be so large: choose another one.',
  EIO: ` The disk has a fault: see the kernel's log. ${GOES_ON}`,
  EBUSY: ' Unmount it first; whatever uses it would not see what changes beneath it.',
  EACCES: ' Choose another place, or ask for the right to use it (sudo).',
  EPERM: ' Choose another place, or ask for the right to use it (sudo).',
};

function adviceOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return ADVICE[code] ?? '';
}
