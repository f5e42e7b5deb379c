import type { Readable } from 'node:stream';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../ebs/constants.js';
import { EnvironmentError } from '../util/errors.js';
import { formatBytes, GIB } from '../util/units.js';
import type { BlockSupply, SuppliedBlock, SupplyItem } from './block-supply.js';
import { imageError } from './transfer-error.js';

/** A block that came out of a stream. */
interface StreamItem extends SupplyItem {
  readonly bytes: Buffer;
}

/** A stream of which it was said how large the disk is. It is read once, as fast as its blocks are put. */
export class StreamSupply implements BlockSupply<StreamItem> {
  readonly isImmutable = false;
  readonly canReadAgain = false;
  readonly #stream: Readable;
  readonly #name: string;
  readonly #volumeSizeGib: number;

  /** @param name for messages. */
  constructor(stream: Readable, name: string, volumeSizeGib: number) {
    this.#stream = stream;
    this.#name = name;
    this.#volumeSizeGib = volumeSizeGib;
  }

  totalCount(): number {
    return this.#volumeSizeGib * BLOCKS_PER_GIB;
  }

  async *blocks(signal: AbortSignal): AsyncGenerator<StreamItem, void> {
    const blockCount = this.#volumeSizeGib * BLOCKS_PER_GIB;
    let blockIndex = 0;
    for await (const bytes of wholeBlocks(this.#stream, this.#name, signal)) {
      if (blockIndex === blockCount) {
        throw new EnvironmentError(
          `Cannot upload ${this.#name}: it has more than the ${formatBytes(this.#volumeSizeGib * GIB)} of --volume-size.`,
        );
      }
      yield { blockIndex, bytes };
      blockIndex += 1;
    }
    if (blockIndex === 0) throw emptyError(this.#name);
  }

  read({ bytes }: StreamItem): Promise<SuppliedBlock> {
    return Promise.resolve({ bytes, checksum: undefined });
  }
}

/** The bytes of a stream in blocks of 512 KiB; the last one is filled up with zeros. */
export async function* wholeBlocks(
  stream: Readable,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  let block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  let filled = 0;
  for await (const chunk of chunksOf(stream, name, signal)) {
    for (let at = 0; at < chunk.length;) {
      const count = chunk.copy(block, filled, at);
      at += count;
      filled += count;
      if (filled < BLOCK_BYTES) continue;
      yield block;
      block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield block.fill(0, filled);
}

/** What is said of a stream without a byte. */
export function emptyError(name: string): EnvironmentError {
  return new EnvironmentError(`Cannot upload ${name}: it is empty.`);
}

/** The chunks of a stream, until the signal aborts also while none comes. */
export async function* chunksOf(
  stream: Readable,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  signal.throwIfAborted();
  const stop = (): void => void stream.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    signal.throwIfAborted();
    throw imageError('read', name, error);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
