import type { BlockDevice, ReadResult } from '../device/block-device.js';
import { assert } from '../util/assert.js';
import { isWithin } from '../util/ranges.js';
import { damaged } from './file-error.js';

/** A part of a device, in bytes: a partition, or all of it. */
export interface ByteRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** The most that {@link VolumeReader.read} puts together: structures are small, and file content is never copied. */
const READ_BYTES_MAX = 4 * 1024 * 1024;

/** Reads a part of a device, with offsets that begin at that part. Nothing outside of it can be reached. */
export class VolumeReader {
  readonly sizeBytes: number;
  readonly #device: BlockDevice;
  readonly #offset: number;

  /** @param range default: all of the device. What lies beyond its end is cut off. */
  constructor(device: BlockDevice, range: ByteRange = { offset: 0, lengthBytes: device.sizeBytes }) {
    assert(
      range.offset >= 0 && range.lengthBytes >= 0,
      `a volume of ${range.lengthBytes} at ${range.offset}`,
    );
    this.#device = device;
    this.#offset = Math.min(range.offset, device.sizeBytes);
    this.sizeBytes = Math.min(range.lengthBytes, device.sizeBytes - this.#offset);
  }

  /**
   * Reads into a buffer of the caller's own. At most 4 MiB.
   *
   * @throws {FileError} `EIO` when that is outside of the volume, and whatever the device throws.
   */
  async read(offset: number, lengthBytes: number, signal?: AbortSignal): Promise<Buffer> {
    assert(lengthBytes <= READ_BYTES_MAX, `a structure of ${lengthBytes} bytes`);
    const bytes = Buffer.alloc(lengthBytes);
    let at = 0;
    for (const chunk of await this.readChunks(offset, lengthBytes, signal)) {
      if (chunk instanceof Uint8Array) {
        bytes.set(chunk, at);
        at += chunk.length;
      } else {
        at += chunk.zeroBytes;
      }
    }
    assert(at === lengthBytes, `a read of ${at} instead of ${lengthBytes} bytes`);
    return bytes;
  }

  /** Reads without a copy: the chunks are the device's own, with holes told apart. Errors: as of `read`. */
  async readChunks(offset: number, lengthBytes: number, signal?: AbortSignal): Promise<ReadResult> {
    if (!Number.isSafeInteger(offset) || !isWithin(offset, lengthBytes, this.sizeBytes)) {
      throw damaged(`something points to byte ${offset} of a volume of ${this.sizeBytes}`);
    }
    if (lengthBytes === 0) return [];
    return this.#device.read(this.#offset + offset, lengthBytes, signal === undefined ? {} : { signal });
  }

  /** Reads as much of the range as lies in the volume: nothing where it begins beyond the end. */
  async readUpTo(offset: number, lengthBytes: number, signal?: AbortSignal): Promise<Buffer> {
    const start = Math.min(Math.max(0, offset), this.sizeBytes);
    return this.read(start, Math.min(lengthBytes, this.sizeBytes - start), signal);
  }
}
