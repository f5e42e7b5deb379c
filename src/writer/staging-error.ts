import { SnapnbdError } from '../util/errors.js';

/** Nobody can say any more what is on the disk, or what a journal means: nothing is written until a person has looked. */
export class JournalError extends SnapnbdError {
  override readonly name = 'JournalError';
}

/** A commit cannot be made, or not finished. */
export class CommitError extends SnapnbdError {
  override readonly name: string = 'CommitError';
}
