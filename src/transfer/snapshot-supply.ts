import { blockBuffers } from '../ebs/block-buffers.js';
import type { ListedBlock } from '../ebs/snapshot-api.js';
import type { BlockSupply, SuppliedBlock } from './block-supply.js';
import type { ListedBlocks } from './listed-blocks.js';

/** A snapshot that is brought into another one. */
export class SnapshotSupply implements BlockSupply<ListedBlock> {
  readonly isImmutable = true;
  readonly canReadAgain = true;
  readonly #source: ListedBlocks;
  readonly #totalCount: () => number | undefined;

  /** @param totalCount how many blocks it lists, as soon as that is known. */
  constructor(source: ListedBlocks, totalCount: () => number | undefined) {
    this.#source = source;
    this.#totalCount = totalCount;
  }

  totalCount(): number | undefined {
    return this.#totalCount();
  }

  blocks(signal: AbortSignal): AsyncIterable<ListedBlock> {
    return this.#source.blocks(signal);
  }

  async read(item: ListedBlock, signal: AbortSignal): Promise<SuppliedBlock> {
    const { bytes, checksum } = await this.#source.read(item, signal);
    return { bytes, checksum, release: () => blockBuffers.drop(bytes) };
  }
}
