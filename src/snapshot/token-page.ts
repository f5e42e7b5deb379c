import type { ListedBlock } from '../ebs/snapshot-api.js';
import type { IndexedPage } from './page-index.js';

/** What is known of a block. */
export const BlockState = {
  /** Not yet listed: a list call says which of the other two it is. */
  Unknown: 0,
  /** Proven not to be in the snapshot: it reads as zeros. */
  Unlisted: 1,
  /** In the snapshot. */
  Listed: 2,
} as const;
export type BlockState = (typeof BlockState)[keyof typeof BlockState];

/** A stretch of blocks of the same state. */
export interface BlockRun {
  readonly state: BlockState;
  /** One past its last block. */
  readonly endIndex: number;
}

/** What a page costs beside its indexes and tokens: its objects, buffers and place in the index. */
const PAGE_OVERHEAD_BYTES = 640;

/**
 * What one listing proved about the blocks from `startIndex` up to, without, `endIndex`: those in it are listed, with
 * the tokens to get them; all others are not. Ten thousand blocks take two small arrays and one buffer.
 */
export class TokenPage implements IndexedPage<TokenPage> {
  readonly startIndex: number;
  readonly endIndex: number;
  /** From when on the tokens are not to be used any more, in milliseconds since 1970. What is listed stays true. */
  readonly staleMs: number;
  usedTick = 0;
  readonly #indexes: Uint32Array;
  /** Where each token ends in `#tokens`. */
  readonly #tokenEnds: Uint32Array;
  readonly #tokens: Buffer;

  private constructor(
    startIndex: number,
    endIndex: number,
    staleMs: number,
    parts: readonly [indexes: Uint32Array, tokenEnds: Uint32Array, tokens: Buffer],
  ) {
    this.startIndex = startIndex;
    this.endIndex = endIndex;
    this.staleMs = staleMs;
    [this.#indexes, this.#tokenEnds, this.#tokens] = parts;
  }

  /**
   * @param blocks ascending, all from `startIndex` up to `endIndex`.
   * @returns undefined when a token is not plain ASCII.
   */
  static of(
    startIndex: number,
    endIndex: number,
    staleMs: number,
    blocks: readonly ListedBlock[],
  ): TokenPage | undefined {
    const indexes = new Uint32Array(blocks.length);
    const tokenEnds = new Uint32Array(blocks.length);
    const texts = new Array<string>(blocks.length);
    let tokenBytes = 0;
    for (const [position, { blockIndex, blockToken }] of blocks.entries()) {
      indexes[position] = blockIndex;
      texts[position] = blockToken;
      tokenBytes += blockToken.length;
      tokenEnds[position] = tokenBytes;
    }
    const text = texts.join('');
    if (Buffer.byteLength(text) !== tokenBytes) return undefined;
    const tokens = Buffer.allocUnsafeSlow(tokenBytes);
    tokens.write(text, 'latin1');
    return new TokenPage(startIndex, endIndex, staleMs, [indexes, tokenEnds, tokens]);
  }

  /** The same blocks as far as they lie in a narrower range; what they are kept in is shared. */
  within(startIndex: number, endIndex: number): TokenPage {
    const parts = [this.#indexes, this.#tokenEnds, this.#tokens] as const;
    const page = new TokenPage(startIndex, endIndex, this.staleMs, parts);
    page.usedTick = this.usedTick;
    return page;
  }

  /** The blocks that were listed when the page was made, ascending. Nobody changes them. */
  get listedIndexes(): Uint32Array {
    return this.#indexes;
  }

  /** Blocks that were listed when the page was made. */
  get listedCount(): number {
    return this.#indexes.length;
  }

  get sizeBytes(): number {
    return PAGE_OVERHEAD_BYTES + this.#indexes.byteLength + this.#tokenEnds.byteLength + this.#tokens.length;
  }

  covers(blockIndex: number): boolean {
    return this.startIndex <= blockIndex && blockIndex < this.endIndex;
  }

  /** @param blockIndex one that the page covers. */
  stateOf(blockIndex: number): BlockState {
    return this.#indexes[this.#positionOf(blockIndex)] === blockIndex
      ? BlockState.Listed
      : BlockState.Unlisted;
  }

  /** @returns undefined when the block, which the page covers, is not listed. */
  tokenOf(blockIndex: number): string | undefined {
    const position = this.#positionOf(blockIndex);
    if (this.#indexes[position] !== blockIndex) return undefined;
    const start = position === 0 ? 0 : this.#tokenEnds[position - 1];
    return this.#tokens.toString('latin1', start, this.#tokenEnds[position]);
  }

  /** The stretch of equal state that begins at a block that the page covers, as far as the page goes. */
  runAt(blockIndex: number): BlockRun {
    let position = this.#positionOf(blockIndex);
    const next = this.#indexes[position];
    if (next !== blockIndex) {
      return { state: BlockState.Unlisted, endIndex: Math.min(next ?? this.endIndex, this.endIndex) };
    }
    let endIndex = blockIndex;
    while (endIndex < this.endIndex && this.#indexes[position] === endIndex) {
      endIndex += 1;
      position += 1;
    }
    return { state: BlockState.Listed, endIndex };
  }

  // Of the first listed block that is not before this one.
  #positionOf(blockIndex: number): number {
    const indexes = this.#indexes;
    let low = 0;
    let high = indexes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((indexes[middle] ?? 0) < blockIndex) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
