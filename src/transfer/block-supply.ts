/** A block that a supply has something for. */
export interface SupplyItem {
  readonly blockIndex: number;
}

/** The contents of a block. */
export interface SuppliedBlock {
  /** All of it; nobody changes it before it is released. */
  readonly bytes: Buffer;
  /** base64 of the SHA-256, where it is known already. */
  readonly checksum: string | undefined;
  /** Gives the memory back. */
  readonly release?: () => void;
}

/** A disk that is brought into a snapshot. */
export interface BlockSupply<Item extends SupplyItem = SupplyItem> {
  /** It gives the same bytes each time, for ever: what an earlier run moved need not be compared. */
  readonly isImmutable: boolean;
  /** It can be read from the beginning again by this process. */
  readonly canReadAgain: boolean;
  /** How many blocks it has something for, as far as that is known by now. */
  totalCount(): number | undefined;
  /** All blocks that may hold something else than zeros, ascending. */
  blocks(signal: AbortSignal): AsyncIterable<Item>;
  read(item: Item, signal: AbortSignal): Promise<SuppliedBlock>;
}
