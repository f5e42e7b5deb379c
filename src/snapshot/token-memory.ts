import { MIB } from '../util/units.js';

/** Holds the tokens of a full volume of 150 GiB. */
export const DEFAULT_TOKEN_BYTES_MAX = 32 * MIB;

/** Keeps pages, and lets them go one by one. */
export interface PageHolder {
  /** When its page that was looked at least recently was, in {@link TokenMemory.nextTick}; undefined without pages. */
  leastRecentTick(): number | undefined;
  /** Drops that page. */
  dropLeastRecent(): void;
}

/**
 * What block tokens may take in memory, of all snapshots of the process together: when it is too much, the pages go
 * that were looked at least recently, wherever they are.
 */
export class TokenMemory {
  readonly bytesMax: number;
  readonly #holders = new Set<PageHolder>();
  #sizeBytes = 0;
  #tick = 0;

  /** @param bytesMax the page that came last is kept in any case. Default: 32 MiB. */
  constructor(bytesMax: number = DEFAULT_TOKEN_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Counts looks at pages. */
  nextTick(): number {
    this.#tick += 1;
    return this.#tick;
  }

  join(holder: PageHolder): void {
    this.#holders.add(holder);
  }

  /** The holder has no pages any more, and will have none. */
  leave(holder: PageHolder): void {
    this.#holders.delete(holder);
  }

  /** A holder takes so much more, or less. */
  changeBy(bytes: number): void {
    this.#sizeBytes += bytes;
  }

  /** Makes the pages fit. @param newestTick of the page that stays whatever it takes. */
  trim(newestTick: number): void {
    while (this.#sizeBytes > this.bytesMax) {
      let oldest: PageHolder | undefined;
      let oldestTick = newestTick;
      // A look at some thousand numbers, beside a list call over the network.
      for (const holder of this.#holders) {
        const tick = holder.leastRecentTick() ?? newestTick;
        if (tick < oldestTick) {
          oldestTick = tick;
          oldest = holder;
        }
      }
      if (oldest === undefined) return;
      oldest.dropLeastRecent();
    }
  }
}

/** For devices that are given none of their own. */
export const processTokenMemory = new TokenMemory();
