import { SnapnbdError } from '../util/errors.js';

/** The eight errors that a block device can report, which are the eight that exist on the NBD wire. */
export const DeviceErrno = {
  /** The device is read-only. */
  EPERM: 'EPERM',
  /** The data could not be had, or could not be kept. */
  EIO: 'EIO',
  ENOMEM: 'ENOMEM',
  EINVAL: 'EINVAL',
  /** No space, or a write past the end. */
  ENOSPC: 'ENOSPC',
  EOVERFLOW: 'EOVERFLOW',
  /** The operation is known and cannot be done here, or not fast. */
  ENOTSUP: 'ENOTSUP',
  ESHUTDOWN: 'ESHUTDOWN',
} as const;
export type DeviceErrno = (typeof DeviceErrno)[keyof typeof DeviceErrno];

/** What else is known about a {@link DeviceError}. */
export interface DeviceErrorOptions extends ErrorOptions {
  /** Where on the device it happened, in bytes. */
  readonly offset?: number;
}

/** A request failed; the device, and the connection that asked, live on. `cause` has the real reason. */
export class DeviceError extends SnapnbdError {
  override readonly name = 'DeviceError';
  readonly errno: DeviceErrno;
  /** Where on the device it happened, in bytes, if that is known. */
  readonly offset: number | undefined;

  constructor(errno: DeviceErrno, message: string, options?: DeviceErrorOptions) {
    super(message, options);
    this.errno = errno;
    this.offset = options?.offset;
  }
}
