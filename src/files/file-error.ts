import { SnapnbdError } from '../util/errors.js';

/** Why a filesystem cannot give what it was asked for, named after the error of the system that fits best. */
export const FileErrorCode = {
  /** There is no such file. */
  NotFound: 'ENOENT',
  /** A part of the path is no directory. */
  NotDirectory: 'ENOTDIR',
  /** It is a directory, and has no content to read. */
  IsDirectory: 'EISDIR',
  /** Too many symbolic links on the way. */
  TooManyLinks: 'ELOOP',
  /** It is not of the kind that was asked for: a link, a regular file. */
  WrongKind: 'EINVAL',
  /** The structures on the disk contradict each other, or their checksums. */
  Damaged: 'EIO',
  /** It is well-formed and cannot be read here: encrypted, or in a format that is not known. */
  Unsupported: 'ENOTSUP',
} as const;
export type FileErrorCode = (typeof FileErrorCode)[keyof typeof FileErrorCode];

/** Reading a filesystem or a partition table failed, for a reason that lies in the image rather than in the device. */
export class FileError extends SnapnbdError {
  override readonly name = 'FileError';
  readonly code: FileErrorCode;

  constructor(code: FileErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The image contradicts itself. Nothing is guessed then: what was asked for is refused. */
export function damaged(what: string): FileError {
  return new FileError(FileErrorCode.Damaged, `The filesystem is damaged: ${what}.`);
}

/** The image is well-formed as far as can be seen, and uses what is not known here. */
export function unsupported(what: string): FileError {
  return new FileError(FileErrorCode.Unsupported, what);
}
