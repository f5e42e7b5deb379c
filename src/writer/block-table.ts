import { assert, AssertionError } from '../util/assert.js';
import { SectorState } from './sector-state.js';

/** Blocks in a chunk of the table: 2 GiB of the disk. */
const CHUNK_BLOCKS = 4096;

/** What the table says of a block beside the four states: that it is mixed, by page or within pages. */
export const MixedEntry = { Coarse: 4, Fine: 5 } as const;

interface Chunk {
  readonly entries: Uint8Array;
  /** Where the detail of mixed blocks is. */
  slots: Uint32Array | undefined;
}

/**
 * One entry for each block of a disk: a {@link SectorState} or a {@link MixedEntry}. A chunk of blocks that are all the
 * same is a single number, so that an empty disk of 64 TiB costs 256 KiB.
 */
export class BlockTable {
  readonly #blockCount: number;
  readonly #chunks: (Chunk | number)[];

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
    this.#chunks = new Array<Chunk | number>(Math.ceil(blockCount / CHUNK_BLOCKS)).fill(SectorState.Through);
  }

  /** About, in bytes. */
  get memoryBytes(): number {
    let bytes = this.#chunks.length * 8;
    for (const chunk of this.#chunks) {
      if (typeof chunk !== 'number') bytes += CHUNK_BLOCKS * (chunk.slots === undefined ? 1 : 5);
    }
    return bytes;
  }

  get(block: number): number {
    const chunk = this.#chunks[Math.floor(block / CHUNK_BLOCKS)];
    if (chunk === undefined) throw new AssertionError(`block ${block} of ${this.#blockCount}`);
    return typeof chunk === 'number' ? chunk : (chunk.entries[block % CHUNK_BLOCKS] ?? 0);
  }

  isMixed(entry: number): boolean {
    return entry >= MixedEntry.Coarse;
  }

  /** The slot of a mixed block. */
  slotOf(block: number): number {
    const chunk = this.#chunks[Math.floor(block / CHUNK_BLOCKS)];
    assert(chunk !== undefined && typeof chunk !== 'number' && chunk.slots !== undefined, 'no slot');
    return chunk.slots[block % CHUNK_BLOCKS] ?? 0;
  }

  setMixed(block: number, entry: number, slot: number): void {
    const chunk = this.#split(Math.floor(block / CHUNK_BLOCKS));
    chunk.slots ??= new Uint32Array(CHUNK_BLOCKS);
    chunk.entries[block % CHUNK_BLOCKS] = entry;
    chunk.slots[block % CHUNK_BLOCKS] = slot;
  }

  /** Sets the blocks from `start` up to, not including, `end`; the caller has given slots back. */
  setRange(start: number, end: number, state: number): void {
    if (start > end || end > this.#blockCount) throw new AssertionError(`blocks ${start} to ${end}`);
    let block = start;
    while (block < end) {
      const index = Math.floor(block / CHUNK_BLOCKS);
      const chunkStart = index * CHUNK_BLOCKS;
      const chunkEnd = Math.min(chunkStart + CHUNK_BLOCKS, this.#blockCount);
      const partEnd = Math.min(end, chunkEnd);
      if (block === chunkStart && partEnd === chunkEnd) this.#chunks[index] = state;
      else if (this.#chunks[index] !== state) {
        this.#split(index).entries.fill(state, block - chunkStart, partEnd - chunkStart);
      }
      block = partEnd;
    }
  }

  /** The first block from `block` on whose entry `isSame` does not accept, at most `limit`; mixed ones never are. */
  endOfSame(block: number, limit: number, isSame: (entry: number) => boolean): number {
    let at = block;
    while (at < limit) {
      const index = Math.floor(at / CHUNK_BLOCKS);
      const chunk = this.#chunks[index];
      assert(chunk !== undefined, 'a chunk is missing');
      const chunkStart = index * CHUNK_BLOCKS;
      const chunkEnd = Math.min(chunkStart + CHUNK_BLOCKS, this.#blockCount);
      if (typeof chunk === 'number') {
        if (!isSame(chunk)) return at;
        at = Math.min(limit, chunkEnd);
        continue;
      }
      while (at < chunkEnd && at < limit) {
        const entry = chunk.entries[at - chunkStart] ?? 0;
        if (this.isMixed(entry) || !isSame(entry)) return at;
        at += 1;
      }
    }
    return at;
  }

  #split(index: number): Chunk {
    const chunk = this.#chunks[index];
    assert(chunk !== undefined, 'a chunk is missing');
    if (typeof chunk !== 'number') return chunk;
    const split = { entries: new Uint8Array(CHUNK_BLOCKS).fill(chunk), slots: undefined };
    this.#chunks[index] = split;
    return split;
  }
}
