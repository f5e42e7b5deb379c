import { deviceErrorOf } from './stage-errors.js';
import { JournalError } from './staging-error.js';

/** Whether a fork still takes anything, and what clients are told when it does not. */
export class StoreHealth {
  readonly #place: string;
  readonly #onFailure: (failure: JournalError) => void;
  #failure: JournalError | undefined;

  /**
   * @param place for people: where the fork is.
   * @param onFailure called once, when nothing is taken any more.
   */
  constructor(place: string, onFailure: (failure: JournalError) => void) {
    this.#place = place;
    this.#onFailure = onFailure;
  }

  /** Why nothing is taken any more, or undefined. */
  get failure(): JournalError | undefined {
    return this.#failure;
  }

  /** @throws {DeviceError} EIO when nothing is taken any more. */
  check(): void {
    if (this.#failure !== undefined) throw deviceErrorOf(this.#failure, this.#place);
  }

  /** What a client is told of an error; a {@link JournalError} is for ever. */
  deviceErrorOf(error: unknown): Error {
    if (error instanceof JournalError && this.#failure === undefined) {
      this.#failure = error;
      this.#onFailure(error);
    }
    return deviceErrorOf(error, this.#place);
  }
}
