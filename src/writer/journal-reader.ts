import { MIB } from '../util/units.js';
import {
  decodeFrame,
  FRAME_ALIGNMENT,
  frameBytesOf,
  PAYLOAD_BYTES_MAX,
  type DecodedFrame,
} from './journal-frame.js';
import type { StagingFile } from './staging-folder.js';

const FRAME_BYTES_MAX = frameBytesOf(PAYLOAD_BYTES_MAX);
const WINDOW_BYTES = 4 * MIB;

/** Reads the frames of a journal one after the other, a few MiB at a time. */
export class FrameReader {
  readonly #file: StagingFile;
  readonly #sizeBytes: number;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #end = 0;
  #nextFrame = 0;
  #fileId: number | undefined;

  private constructor(file: StagingFile, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  static async open(file: StagingFile): Promise<FrameReader> {
    return new FrameReader(file, await file.sizeBytes());
  }

  /** Where the frames read so far end. */
  get end(): number {
    return this.#end;
  }

  /** The number of the frame that comes next. */
  get nextFrame(): number {
    return this.#nextFrame;
  }

  /** Undefined when not even the first frame was whole. */
  get fileId(): number | undefined {
    return this.#fileId;
  }

  /** The next frame, or undefined where no whole one follows. */
  async next(): Promise<DecodedFrame | undefined> {
    const frame = await this.#frameAt(this.#end);
    if (frame?.frameNumber !== this.#nextFrame) return undefined;
    if (this.#fileId !== undefined && frame.fileId !== this.#fileId) return undefined;
    this.#fileId = frame.fileId;
    this.#end += frame.end;
    this.#nextFrame += 1;
    return frame;
  }

  /** Where a whole frame of this journal follows after something that is none: a sign of damage. */
  async findLaterFrame(): Promise<number | undefined> {
    const isLater = (frame: DecodedFrame): boolean =>
      frame.fileId === this.#fileId && frame.frameNumber > this.#nextFrame;
    for (let at = this.#end + FRAME_ALIGNMENT; at < this.#sizeBytes; at += FRAME_ALIGNMENT) {
      const frame = await this.#frameAt(at);
      if (frame !== undefined && isLater(frame)) return at;
    }
    return undefined;
  }

  /** The frame at `position`; its `end` is relative to that. */
  async #frameAt(position: number): Promise<DecodedFrame | undefined> {
    const needed = Math.min(FRAME_BYTES_MAX, this.#sizeBytes - position);
    if (needed <= 0) return undefined;
    const windowEnd = this.#windowStart + this.#window.length;
    if (position < this.#windowStart || position + needed > windowEnd) {
      const window = Buffer.alloc(Math.min(WINDOW_BYTES, this.#sizeBytes - position));
      this.#window = window.subarray(0, await this.#file.read(window, position));
      this.#windowStart = position;
    }
    const offset = position - this.#windowStart;
    const frame = decodeFrame(this.#window, offset);
    return frame === undefined ? undefined : { ...frame, end: frame.end - offset };
  }
}
