import { open, stat, type FileHandle } from 'node:fs/promises';
import { BLOCK_BYTES, VOLUME_SIZE_MAX_GIB } from '../ebs/constants.js';
import { EnvironmentError } from '../util/errors.js';
import { formatBytes, GIB } from '../util/units.js';
import type { BlockSupply, SuppliedBlock, SupplyItem } from './block-supply.js';
import { deviceSizeBytes } from './device-size.js';
import type { FindData } from './image-target.js';
import { imageError } from './transfer-error.js';

const IMAGE_BYTES_MAX = VOLUME_SIZE_MAX_GIB * GIB;
/** Of `blocks` in what stat gives, whatever the file system's own are. */
const STAT_BLOCK_BYTES = 512;

/** A raw image in a file, or a block device. What lies beyond its end is zeros. */
export class ImageSupply implements BlockSupply {
  readonly isImmutable = false;
  readonly canReadAgain = true;
  readonly path: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  /** Blocks that are not all hole, about. */
  readonly #dataBlockCount: number;
  readonly #findData: FindData;
  readonly #free: Buffer[] = [];

  private constructor(
    path: string,
    handle: FileHandle,
    size: { readonly sizeBytes: number; readonly allocatedBytes: number },
    findData: FindData,
  ) {
    this.path = path;
    this.#handle = handle;
    this.sizeBytes = size.sizeBytes;
    this.#dataBlockCount = Math.ceil(Math.min(size.sizeBytes, size.allocatedBytes) / BLOCK_BYTES);
    this.#findData = findData;
  }

  /**
   * Opens an image.
   *
   * @returns undefined for what can only be read in its order, such as a pipe.
   * @throws {EnvironmentError} when there is none, or it is empty or too large.
   */
  static async open(path: string, findData: FindData): Promise<ImageSupply | undefined> {
    const unreadable = (error: unknown): never => {
      throw imageError('read', path, error);
    };
    // [fifo(7)] To open a pipe is to wait for somebody who writes to it, which nothing could break off.
    if ((await stat(path).catch(unreadable)).isFIFO()) return undefined;
    const handle = await open(path, 'r').catch(unreadable);
    try {
      const supply = await ImageSupply.of(path, handle, findData);
      if (supply === undefined) await handle.close();
      return supply;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The same for what is open already. It is closed with the supply. */
  static async of(path: string, handle: FileHandle, findData: FindData): Promise<ImageSupply | undefined> {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw new EnvironmentError(`Cannot read "${path}": it is a folder.`);
    if (!stats.isFile() && !stats.isBlockDevice()) return undefined;
    const sizeBytes = stats.isFile() ? stats.size : await deviceSizeBytes(handle);
    if (sizeBytes === 0) throw new EnvironmentError(`Cannot upload "${path}": it is empty.`);
    if (sizeBytes > IMAGE_BYTES_MAX) {
      throw new EnvironmentError(
        `Cannot upload "${path}": it has ${formatBytes(sizeBytes)}, and volumes end at ${formatBytes(IMAGE_BYTES_MAX)}.`,
      );
    }
    const allocatedBytes = stats.isFile() ? stats.blocks * STAT_BLOCK_BYTES : sizeBytes;
    return new ImageSupply(path, handle, { sizeBytes, allocatedBytes }, findData);
  }

  totalCount(): number {
    return this.#dataBlockCount;
  }

  async *blocks(): AsyncGenerator<SupplyItem, void> {
    let nextBlock = 0;
    for await (const { start, end } of this.#dataRanges()) {
      const endBlock = Math.ceil(end / BLOCK_BYTES);
      const firstBlock = Math.max(nextBlock, Math.floor(start / BLOCK_BYTES));
      for (let blockIndex = firstBlock; blockIndex < endBlock; blockIndex += 1) yield { blockIndex };
      nextBlock = Math.max(nextBlock, endBlock);
    }
  }

  async read({ blockIndex }: SupplyItem): Promise<SuppliedBlock> {
    const bytes = this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    const position = blockIndex * BLOCK_BYTES;
    const wanted = Math.min(BLOCK_BYTES, this.sizeBytes - position);
    let count = 0;
    try {
      while (count < wanted) {
        const { bytesRead } = await this.#handle.read(bytes, count, wanted - count, position + count);
        if (bytesRead === 0) break;
        count += bytesRead;
      }
    } catch (error) {
      throw imageError('read', this.path, error);
    }
    if (count < wanted)
      throw new EnvironmentError(`Cannot upload "${this.path}": it became shorter while it was read.`);
    bytes.fill(0, count);
    return { bytes, checksum: undefined, release: () => void this.#free.push(bytes) };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async *#dataRanges(): ReturnType<FindData> extends AsyncIterable<infer Range>
    ? AsyncGenerator<Range, void>
    : never {
    const mayHaveHoles = this.#dataBlockCount * BLOCK_BYTES < this.sizeBytes;
    if (mayHaveHoles) yield* this.#findData(this.#handle.fd, this.sizeBytes);
    else yield { start: 0, end: this.sizeBytes };
  }
}
