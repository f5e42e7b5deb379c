import { assert } from '../util/assert.js';

/** The bytes of a SHA-256 digest. */
export const DIGEST_BYTES = 32;
const GROUP_BLOCKS = 64;

/** How far a block is on its way into the pending snapshot. */
export const PutState = {
  /** It was never put, and nobody is about to. */
  Never: 0,
  /** Something of it may have been put, which is not what it holds now: it has to be put before the end. */
  Owed: 1,
  /** What it holds was put, and its digest is known. */
  Put: 2,
} as const;
export type PutState = (typeof PutState)[keyof typeof PutState];

interface Group {
  readonly states: Uint8Array;
  readonly digests: Buffer;
}

/** What has been put of a layer: 33 bytes a block where something was. */
export class PutTable {
  readonly #groups = new Map<number, Group>();
  #putCount = 0;
  #owedCount = 0;

  /** Blocks that were put as they are now. */
  get putCount(): number {
    return this.#putCount;
  }

  /** Blocks that have to be put, or put again, beside those that nobody has touched yet. */
  get owedCount(): number {
    return this.#owedCount;
  }

  get(block: number): PutState {
    const group = this.#groups.get(Math.floor(block / GROUP_BLOCKS));
    return (group?.states[block % GROUP_BLOCKS] ?? PutState.Never) as PutState;
  }

  /** A copy of the digest of a block that was put. */
  digestOf(block: number): Buffer {
    const group = this.#groups.get(Math.floor(block / GROUP_BLOCKS));
    assert(group !== undefined && this.get(block) === PutState.Put, `block ${block} was not put`);
    const start = (block % GROUP_BLOCKS) * DIGEST_BYTES;
    return Buffer.from(group.digests.subarray(start, start + DIGEST_BYTES));
  }

  owe(block: number): void {
    this.#set(block, PutState.Owed);
  }

  /** @param digest 32 bytes, which are copied. */
  put(block: number, digest: Uint8Array): void {
    assert(digest.length === DIGEST_BYTES, `a digest of ${digest.length} bytes`);
    const group = this.#set(block, PutState.Put);
    group.digests.set(digest, (block % GROUP_BLOCKS) * DIGEST_BYTES);
  }

  /** What was put in the range is no longer what is there. */
  touch(startBlock: number, endBlock: number): void {
    if (this.#putCount === 0) return;
    for (const block of this.#blocksIn(startBlock, endBlock)) {
      if (this.get(block) === PutState.Put) this.owe(block);
    }
  }

  /** Forgets everything. */
  reset(): void {
    this.#groups.clear();
    this.#putCount = 0;
    this.#owedCount = 0;
  }

  /** The blocks that are not Never, ascending. */
  *blocks(): Generator<number, void> {
    yield* this.#blocksIn(0, Number.POSITIVE_INFINITY);
  }

  *#blocksIn(startBlock: number, endBlock: number): Generator<number, void> {
    const firstGroup = Math.floor(startBlock / GROUP_BLOCKS);
    const groupCount = Math.ceil(endBlock / GROUP_BLOCKS) - firstGroup;
    const indexes =
      groupCount < this.#groups.size
        ? Array.from({ length: groupCount }, (_, index) => firstGroup + index)
        : [...this.#groups.keys()].sort((a, b) => a - b);
    for (const index of indexes) {
      const group = this.#groups.get(index);
      if (group === undefined) continue;
      for (let at = 0; at < GROUP_BLOCKS; at += 1) {
        const block = index * GROUP_BLOCKS + at;
        if (group.states[at] !== PutState.Never && block >= startBlock && block < endBlock) yield block;
      }
    }
  }

  #set(block: number, state: PutState): Group {
    const index = Math.floor(block / GROUP_BLOCKS);
    let group = this.#groups.get(index);
    if (group === undefined) {
      group = {
        states: new Uint8Array(GROUP_BLOCKS),
        digests: Buffer.alloc(GROUP_BLOCKS * DIGEST_BYTES),
      };
      this.#groups.set(index, group);
    }
    this.#count(group.states[block % GROUP_BLOCKS], -1);
    group.states[block % GROUP_BLOCKS] = state;
    this.#count(state, 1);
    return group;
  }

  #count(state: number | undefined, by: number): void {
    if (state === PutState.Put) this.#putCount += by;
    else if (state === PutState.Owed) this.#owedCount += by;
  }
}
