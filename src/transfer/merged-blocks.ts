import type { SupplyItem } from './block-supply.js';

/** A block that one or more of several listings name. */
export interface MergedBlock<Item extends SupplyItem, Other extends SupplyItem> {
  readonly blockIndex: number;
  /** What the supply has of it. */
  readonly item: Item | undefined;
  /** What the parent lists of it. */
  readonly inherited: Other | undefined;
}

/** Ascending listings, of which each names a block once. */
export interface Listings<Item extends SupplyItem, Other extends SupplyItem> {
  readonly items: AsyncIterable<Item>;
  /** What the parent has, where there is one. */
  readonly inherited: AsyncIterable<Other> | undefined;
  /** Blocks that are to be looked at for other reasons. */
  readonly others: AsyncIterable<SupplyItem>;
}

/** Every block that one of the listings names, ascending and once. */
export async function* mergeBlocks<Item extends SupplyItem, Other extends SupplyItem>(
  listings: Listings<Item, Other>,
): AsyncGenerator<MergedBlock<Item, Other>, void> {
  const items = new Cursor(listings.items);
  const inherited = new Cursor(listings.inherited);
  const others = new Cursor(listings.others);
  try {
    await Promise.all([items.advance(), inherited.advance(), others.advance()]);
    for (;;) {
      const blockIndex = Math.min(items.blockIndex, inherited.blockIndex, others.blockIndex);
      if (blockIndex === Number.POSITIVE_INFINITY) return;
      yield { blockIndex, item: items.at(blockIndex), inherited: inherited.at(blockIndex) };
      if (items.blockIndex === blockIndex) await items.advance();
      if (inherited.blockIndex === blockIndex) await inherited.advance();
      if (others.blockIndex === blockIndex) await others.advance();
    }
  } finally {
    await Promise.allSettled([items.close(), inherited.close(), others.close()]);
  }
}

/** Every block up to an end. */
export async function* everyBlock(blockCount: number): AsyncGenerator<SupplyItem, void> {
  for (let blockIndex = 0; blockIndex < blockCount; blockIndex += 1)
    yield await Promise.resolve({ blockIndex });
}

/** Where a listing is. */
class Cursor<Item extends SupplyItem> {
  readonly #iterator: AsyncIterator<Item> | undefined;
  #head: Item | undefined;

  constructor(listing: AsyncIterable<Item> | undefined) {
    this.#iterator = listing?.[Symbol.asyncIterator]();
  }

  /** Of the block that it is at; Infinity at the end. */
  get blockIndex(): number {
    return this.#head?.blockIndex ?? Number.POSITIVE_INFINITY;
  }

  at(blockIndex: number): Item | undefined {
    return this.#head?.blockIndex === blockIndex ? this.#head : undefined;
  }

  async advance(): Promise<void> {
    const next = await this.#iterator?.next();
    this.#head = next === undefined || next.done === true ? undefined : next.value;
  }

  async close(): Promise<void> {
    await this.#iterator?.return?.();
  }
}
