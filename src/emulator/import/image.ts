import { open, type FileHandle } from 'node:fs/promises';
import { GIB, formatBytes } from '../../util/units.js';
import { BLOCK_BYTES, VOLUME_SIZE_MAX_GIB } from '../../ebs/constants.js';
import { EnvironmentError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { systemReason } from '../../util/system-reason.js';
import { readSome } from '../store/file-io.js';
import { dataRanges } from './data-ranges.js';

const IMAGE_MAX_BYTES = VOLUME_SIZE_MAX_GIB * GIB;

/** Blocks that follow each other and may hold something else than zeros. */
export interface BlockRun {
  readonly firstBlock: number;
  readonly endBlock: number;
}

/** A raw image or a block device, to be read once. */
export class Image {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  /** Some of it may be holes. */
  readonly #isSparse: boolean;

  private constructor(path: string, sizeBytes: number, handle: FileHandle, isSparse: boolean) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.#handle = handle;
    this.#isSparse = isSparse;
  }

  /** @throws {EnvironmentError} when there is no such image, or it is empty or too large. */
  static async open(path: string): Promise<Image> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      throw new EnvironmentError(`Cannot read the image ${path}: ${systemReason(error)}.`, { cause: error });
    }
    try {
      const stats = await handle.stat();
      if (!stats.isFile() && !stats.isBlockDevice())
        throw new EnvironmentError(`Cannot import ${path}: it is neither a file nor a block device.`);
      const sizeBytes = stats.isFile() ? stats.size : await findEnd(handle.fd);
      if (sizeBytes === 0) throw new EnvironmentError(`Cannot import ${path}: it is empty.`);
      if (sizeBytes > IMAGE_MAX_BYTES) {
        throw new EnvironmentError(
          `Cannot import ${path}: it has ${formatBytes(sizeBytes)}, and volumes end at ${formatBytes(IMAGE_MAX_BYTES)}.`,
        );
      }
      // Blocks of 512 bytes, whatever the file system's own are.
      const isSparse = stats.isFile() && stats.blocks * 512 < sizeBytes;
      return new Image(path, sizeBytes, handle, isSparse);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The image in GiB, rounded up. */
  get volumeSizeGib(): number {
    return Math.ceil(this.sizeBytes / GIB);
  }

  /** The runs of blocks outside of holes, ascending and apart. */
  async *runs(logger: Logger): AsyncGenerator<BlockRun> {
    let pending: BlockRun | undefined;
    for await (const { start, end } of this.#dataRanges(logger)) {
      const firstBlock = Math.floor(start / BLOCK_BYTES);
      const endBlock = Math.ceil(end / BLOCK_BYTES);
      if (pending !== undefined && firstBlock <= pending.endBlock) {
        pending = { firstBlock: pending.firstBlock, endBlock: Math.max(pending.endBlock, endBlock) };
        continue;
      }
      if (pending !== undefined) yield pending;
      pending = { firstBlock, endBlock };
    }
    if (pending !== undefined) yield pending;
  }

  /** Fills `target`, whole blocks, from `firstBlock` on; beyond the end of the image with zeros. */
  async readBlocks(firstBlock: number, target: Buffer): Promise<void> {
    const position = firstBlock * BLOCK_BYTES;
    let count: number;
    try {
      count = await readSome(this.#handle.fd, target, position);
    } catch (error) {
      throw new EnvironmentError(`Cannot read ${this.path} at byte ${position}: ${systemReason(error)}.`, {
        cause: error,
      });
    }
    if (count < Math.min(target.length, this.sizeBytes - position))
      throw new EnvironmentError(`Cannot import ${this.path}: it became shorter while it was read.`);
    target.fill(0, Math.min(count, this.sizeBytes - position));
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  #dataRanges(logger: Logger): AsyncIterable<{ start: number; end: number }> {
    if (this.#isSparse) return dataRanges(this.#handle.fd, this.sizeBytes, logger);
    return once({ start: 0, end: this.sizeBytes });
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield await Promise.resolve(value);
}

/** The size of a device: reading one byte works before its end and gives nothing behind it. */
async function findEnd(fd: number): Promise<number> {
  const probe = Buffer.alloc(1);
  const hasByteAt = async (position: number): Promise<boolean> => (await readSome(fd, probe, position)) === 1;
  let low = 0;
  let high = IMAGE_MAX_BYTES + 1;
  // The size is the first position without a byte: at least `low`, at most `high`.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await hasByteAt(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
