import type { ReadChunk } from '../../device/block-device.js';
import { crc32c } from '../crc32c.js';
import { damaged } from '../file-error.js';
import type { VolumeReader } from '../volume-reader.js';
import { JOURNAL_MAGIC } from './journal-format.js';

/** A block that the journal has newer than its place in the filesystem. */
export interface JournalledBlock {
  /** Where the copy is: a block of the filesystem that belongs to the journal. */
  readonly copyBlock: number;
  /** The copy begins with zeros in place of the journal's magic number, so that it is not taken for a header. */
  readonly isEscaped: boolean;
  /** The checksum of the copy, with the number of its transaction; undefined where the journal has none. */
  readonly checksum:
    | { readonly seed: number; readonly sequence: number; readonly mask: number; readonly expected: number }
    | undefined;
}

/** The largest piece that file content is read in, in bytes: eight EBS blocks, fetched together. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** The blocks of an ext filesystem as they will be once its journal is replayed. */
export class ExtBlocks {
  readonly blockBytes: number;
  readonly blockCount: number;
  /** By block of the filesystem. Empty where nothing has to be replayed. */
  readonly overlay: ReadonlyMap<number, JournalledBlock>;
  readonly #reader: VolumeReader;

  constructor(
    reader: VolumeReader,
    shape: { readonly blockBytes: number; readonly blockCount: number },
    overlay: ReadonlyMap<number, JournalledBlock> = new Map(),
  ) {
    this.#reader = reader;
    this.blockBytes = shape.blockBytes;
    this.blockCount = shape.blockCount;
    this.overlay = overlay;
  }

  /** Reads one block. @throws {FileError} `EIO` outside of the filesystem. */
  async read(block: number, signal?: AbortSignal): Promise<Buffer> {
    this.check(block, 1);
    const journalled = this.overlay.get(block);
    if (journalled !== undefined) return this.#readCopy(journalled, signal);
    return this.#reader.read(block * this.blockBytes, this.blockBytes, signal);
  }

  /** Reads a part of one block. */
  async readPart(block: number, start: number, lengthBytes: number, signal?: AbortSignal): Promise<Buffer> {
    this.check(block, 1);
    if (!this.overlay.has(block)) {
      return this.#reader.read(block * this.blockBytes + start, lengthBytes, signal);
    }
    return (await this.read(block, signal)).subarray(start, start + lengthBytes);
  }

  /** The content of `count` blocks from `block` on, in pieces that are bounded. */
  async *readRun(block: number, count: number, signal?: AbortSignal): AsyncGenerator<ReadChunk> {
    this.check(block, count);
    let at = block;
    const end = block + count;
    while (at < end) {
      if (this.overlay.has(at)) {
        yield await this.read(at, signal);
        at += 1;
        continue;
      }
      const next = this.#endOfPiece(at, end);
      yield* await this.#reader.readChunks(at * this.blockBytes, (next - at) * this.blockBytes, signal);
      at = next;
    }
  }

  /** @throws {FileError} `EIO` when the blocks are not all within the filesystem. */
  check(block: number, count: number): void {
    if (block < 0 || count < 0 || block + count > this.blockCount) {
      throw damaged(`something points to block ${block + count - 1} of ${this.blockCount}`);
    }
  }

  #endOfPiece(start: number, end: number): number {
    const pieceEnd = Math.min(end, start + PIECE_BYTES / this.blockBytes);
    if (this.overlay.size === 0) return pieceEnd;
    let at = start + 1;
    while (at < pieceEnd && !this.overlay.has(at)) at += 1;
    return at;
  }

  async #readCopy(
    { copyBlock, isEscaped, checksum }: JournalledBlock,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    this.check(copyBlock, 1);
    const bytes = await this.#reader.read(copyBlock * this.blockBytes, this.blockBytes, signal);
    if (checksum !== undefined) {
      const found = crc32c(bytes, crc32cOfUint32BE(checksum.sequence, checksum.seed));
      if ((found & checksum.mask) >>> 0 !== checksum.expected) {
        throw damaged(`the checksum of block ${copyBlock}, a copy in the journal, is wrong`);
      }
    }
    if (isEscaped) bytes.writeUInt32BE(JOURNAL_MAGIC);
    return bytes;
  }
}

function crc32cOfUint32BE(value: number, seed: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return crc32c(bytes, seed);
}
