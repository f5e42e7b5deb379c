import type { Clock, Timer } from '../../util/clock.js';
import { PROFILE_BLOCKS_MAX, type ProfiledBlock } from './read-profile.js';

/** What is read later than this after the first read, in milliseconds, is no part of the beginning. */
export const RECORDING_MS = 300_000;

/** A server that is killed loses this much of a recording at most. */
const SAVE_MS = 15_000;

/** Takes down which blocks are read first, and when. Bounded in number; who closes it bounds the time. */
export class ProfileRecorder {
  readonly #clock: Clock;
  readonly #save: (blocks: readonly ProfiledBlock[]) => void;
  readonly #blocks = new Map<number, number>();
  #startMs: number | undefined;
  #timer: Timer | undefined;
  #savedCount = 0;
  #isDone = false;

  /** @param save is given all of them, again and again, and a last time at the end. */
  constructor(clock: Clock, save: (blocks: readonly ProfiledBlock[]) => void) {
    this.#clock = clock;
    this.#save = save;
  }

  /** A block is read. */
  note(blockIndex: number): void {
    if (this.#isDone || this.#blocks.has(blockIndex)) return;
    const nowMs = this.#clock.nowMs();
    this.#startMs ??= nowMs;
    this.#timer ??= this.#clock.setTimer(SAVE_MS, () => this.#tick());
    this.#blocks.set(blockIndex, Math.floor(nowMs - this.#startMs));
    if (this.#blocks.size >= PROFILE_BLOCKS_MAX) this.close();
  }

  /** Ends the recording. Once or more. */
  close(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#timer?.cancel();
    this.#keep();
    this.#blocks.clear();
  }

  #tick(): void {
    this.#keep();
    this.#timer = this.#clock.setTimer(SAVE_MS, () => this.#tick());
  }

  #keep(): void {
    if (this.#blocks.size === this.#savedCount) return;
    this.#savedCount = this.#blocks.size;
    this.#save([...this.#blocks]);
  }
}
