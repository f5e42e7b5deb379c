import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { EnvironmentError } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import { deviceSizeBytes } from './device-size.js';
import { imageError } from './transfer-error.js';
import { writeWhole } from '../util/whole-write.js';

/** Read at once when a range has to be zeros: 4 MiB. */
const ZERO_CHECK_BYTES = 8 * BLOCK_BYTES;
const ZEROS = Buffer.alloc(ZERO_CHECK_BYTES);
/** Written before the disk is told to take it, beside what goes on: little enough that nobody waits long for the rest. */
const SYNC_BYTES = 64 * 1024 * 1024;

/** A part of a file that may hold something else than zeros. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/** Asks for the parts of an open file that are not holes, ascending and apart. What cannot be asked for counts as data. */
export type FindData = (fd: number, sizeBytes: number) => AsyncIterable<DataRange>;

/** A file or a block device that becomes an image. */
export class ImageTarget {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #findData: FindData | undefined;
  readonly #sizeBytes: number;
  #unsyncedBytes = 0;
  #syncing: Promise<void> | undefined;
  /** The kernel tells of a failure once, to whoever asks first. */
  #syncFailure: unknown;

  private constructor(path: string, handle: FileHandle, sizeBytes: number, findData: FindData | undefined) {
    this.path = path;
    this.#handle = handle;
    this.#sizeBytes = sizeBytes;
    this.#findData = findData;
  }

  /**
   * Opens a file of its own, as long as the image; what is new in it is a hole.
   *
   * @param findData finds what an earlier run left.
   * @throws {EnvironmentError} in one line.
   */
  static async openFile(path: string, sizeBytes: number, findData: FindData): Promise<ImageTarget> {
    // A link that somebody laid in its place is not followed.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const handle = await open(path, flags, 0o600).catch((error: unknown) => {
      throw imageError('write', path, error);
    });
    try {
      await handle.truncate(sizeBytes);
    } catch (error) {
      await handle.close();
      throw imageError('write', path, error);
    }
    return new ImageTarget(path, handle, sizeBytes, findData);
  }

  /**
   * Opens a block device that nothing else uses.
   *
   * @throws {EnvironmentError} when it is in use, too small, or may not be written.
   */
  static async openDevice(path: string, sizeBytes: number): Promise<ImageTarget> {
    // [open(2): O_EXCL] Of a block device without O_CREAT: fails while it is in use, such as mounted.
    const handle = await open(path, constants.O_RDWR | constants.O_EXCL).catch((error: unknown) => {
      throw imageError('write', path, error);
    });
    try {
      const deviceBytes = await deviceSizeBytes(handle);
      if (deviceBytes < sizeBytes) {
        throw new EnvironmentError(
          `Cannot write to "${path}": it has ${formatBytes(deviceBytes)}, and the snapshot ${formatBytes(sizeBytes)}. Take a larger device.`,
        );
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new ImageTarget(path, handle, sizeBytes, undefined);
  }

  async write(blockIndex: number, bytes: Buffer): Promise<void> {
    await this.#write(bytes, blockIndex * BLOCK_BYTES);
    this.#unsyncedBytes += bytes.length;
    if (this.#unsyncedBytes >= SYNC_BYTES) this.#syncBeside();
  }

  /** Reads a block. */
  async read(blockIndex: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    return bytes.subarray(0, await this.#read(bytes, blockIndex * BLOCK_BYTES));
  }

  /** Makes blocks zeros. Reads them, and writes only where there is something else: holes stay holes. */
  async zero(firstBlock: number, endBlock: number, signal: AbortSignal): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(ZERO_CHECK_BYTES, (endBlock - firstBlock) * BLOCK_BYTES));
    const end = endBlock * BLOCK_BYTES;
    for (let at = firstBlock * BLOCK_BYTES; at < end; at += buffer.length) {
      signal.throwIfAborted();
      const found = buffer.subarray(0, Math.min(buffer.length, end - at));
      const count = await this.#read(found, at);
      if (found.subarray(0, count).equals(ZEROS.subarray(0, count))) continue;
      await this.#write(ZEROS.subarray(0, found.length), at);
    }
  }

  /** Parts that may hold something else than zeros. */
  async *dataRanges(): AsyncGenerator<DataRange, void> {
    if (this.#findData === undefined) yield { start: 0, end: this.#sizeBytes };
    else yield* this.#findData(this.#handle.fd, this.#sizeBytes);
  }

  /** Everything that was written is on the disk when it resolves. */
  async sync(): Promise<void> {
    await this.#syncing;
    await this.#attempt('write', () =>
      this.#syncFailure === undefined ? this.#handle.sync() : Promise.reject(this.#syncFailure as Error),
    );
  }

  async close(): Promise<void> {
    await this.#syncing;
    await this.#handle.close();
  }

  /** Begins to bring what was written to the disk, unless that is under way. Whether it worked is told by `sync`. */
  #syncBeside(): void {
    if (this.#syncing !== undefined) return;
    this.#unsyncedBytes = 0;
    this.#syncing = this.#handle
      .datasync()
      .catch((error: unknown) => {
        this.#syncFailure ??= error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  #write(bytes: Buffer, position: number): Promise<void> {
    return this.#attempt('write', () => writeWhole(this.#handle, bytes, position));
  }

  async #read(target: Buffer, position: number): Promise<number> {
    let count = 0;
    while (count < target.length) {
      const bytesRead = await this.#attempt('read', async () => {
        const result = await this.#handle.read(target, count, target.length - count, position + count);
        return result.bytesRead;
      });
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    return count;
  }

  async #attempt<T>(verb: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw imageError(verb, this.path, error);
    }
  }
}
