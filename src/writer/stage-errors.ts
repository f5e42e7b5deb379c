import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { messageOf, systemCodeOf } from '../util/errors.js';
import { JournalError } from './staging-error.js';

/** What a client is told when staging fails; `place` is where the fork is. */
export function deviceErrorOf(error: unknown, place: string): Error {
  if (error instanceof DeviceError) return error;
  if (error instanceof JournalError) {
    return new DeviceError(DeviceErrno.EIO, error.message, { cause: error });
  }
  const code = systemCodeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    const advice = 'Make room there, or commit or discard a fork; what was flushed is safe.';
    return new DeviceError(
      DeviceErrno.ENOSPC,
      `Cannot stage data in ${place}: the disk is full (${code}). ${advice}`,
      { cause: error },
    );
  }
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  return new DeviceError(DeviceErrno.EIO, `Cannot stage data in ${place}: ${messageOf(error)}.`, {
    cause: error,
  });
}
