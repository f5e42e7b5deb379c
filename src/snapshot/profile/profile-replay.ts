import { Lane, type Limiter } from '../../util/limiter.js';
import type { SnapshotCache } from '../block-cache.js';
import type { BlockFetcher } from '../block-fetcher.js';
import type { SnapshotDiskCache } from '../disk/disk-cache.js';
import type { TokenMap } from '../token-map.js';
import { BlockState } from '../token-page.js';

/** With so many blocks read that are not in the profile, and fewer that are, the client does something else. */
const JUDGED_BLOCKS = 64;
const OTHER_BLOCKS_MAX = 65_536;

/** Lookups ahead of the fetches, which each may be a list call: what an account's 50/s have room for at 100 ms each. */
const LOOKUPS_AT_ONCE = 6;

export interface ReplayParts {
  readonly tokens: TokenMap;
  readonly fetcher: BlockFetcher;
  readonly cache: SnapshotCache;
  readonly disk: SnapshotDiskCache | undefined;
  /** As many are fetched at once as it allows at the time, and as many wait. */
  readonly limiter: Limiter;
  /** Blocks that may be in memory before they are read. */
  readonly memoryBlocksMax: number;
  /** Blocks that may be fetched before they are read, at least those in memory. */
  readonly aheadBlocksMax: number;
}

/** What came of it. */
export interface ReplayResult {
  /** Blocks that were brought. */
  readonly broughtBlocks: number;
  /** Of those, the ones that no client has read so far. */
  readonly unreadBlocks: number;
}

/**
 * Brings the blocks of a profile in their order, behind demand. Stops for as long as more would push out what has not been
 * read, and for good when the client turns out to read something else.
 */
export class ProfileReplay {
  readonly #parts: ReplayParts;
  readonly #profiled: ReadonlySet<number>;
  readonly #read = new Set<number>();
  readonly #unread = new Set<number>();
  readonly #inMemory = new Set<number>();
  /** Blocks that were read, and are not in the profile. */
  readonly #others = new Set<number>();
  /** Where lookups ahead have come to. */
  readonly #ahead: Iterator<number, void>;
  readonly #lookups = new Map<number, Promise<unknown>>();
  #broughtBlocks = 0;
  #goOn: () => void = () => undefined;

  constructor(parts: ReplayParts, blocks: readonly number[]) {
    this.#parts = parts;
    this.#profiled = new Set(blocks);
    this.#ahead = this.#profiled.values();
  }

  get result(): ReplayResult {
    return { broughtBlocks: this.#broughtBlocks, unreadBlocks: this.#unread.size };
  }

  /** A client reads a block. */
  note(blockIndex: number): void {
    if (this.#profiled.has(blockIndex)) {
      this.#read.add(blockIndex);
      this.#unread.delete(blockIndex);
      this.#inMemory.delete(blockIndex);
    } else if (this.#others.size < OTHER_BLOCKS_MAX) {
      this.#others.add(blockIndex);
    }
    this.#goOn();
  }

  /**
   * Goes through the profile.
   *
   * @param isWanted whether a block is still to be brought.
   * @throws {EbsError} when one cannot be had, also for its cost; the signal's reason.
   */
  async run(isWanted: (blockIndex: number) => Promise<boolean>, signal: AbortSignal): Promise<void> {
    const { tokens, disk } = this.#parts;
    const underWay = new Set<Promise<void>>();
    const failure: { error?: unknown } = {};
    for (const blockIndex of this.#profiled) {
      signal.throwIfAborted();
      if ('error' in failure || this.#isElsewhere()) break;
      if (!this.#isDue(blockIndex)) continue;
      this.#lookAhead();
      await this.#lookups.get(blockIndex);
      const { state } = await tokens.learn(blockIndex);
      if (state === BlockState.Unlisted || !(await isWanted(blockIndex))) continue;
      while (this.#unread.size >= this.#parts.aheadBlocksMax && !this.#isElsewhere())
        await this.#untilRead(signal);
      const hasRoom = this.#inMemory.size < this.#parts.memoryBlocksMax;
      if (!hasRoom && (await disk?.has(blockIndex)) === true) continue;
      // The bound rises only while somebody waits for a place.
      while (underWay.size >= 2 * this.#parts.limiter.inFlightMax) await Promise.race(underWay);
      if (this.#read.has(blockIndex)) continue;
      const brought = this.#bring(blockIndex, hasRoom)
        .catch((error: unknown) => void (failure.error = error))
        .finally(() => underWay.delete(brought));
      underWay.add(brought);
    }
    await Promise.all(underWay);
    if ('error' in failure) throw failure.error;
  }

  #isDue(blockIndex: number): boolean {
    const { tokens, cache } = this.#parts;
    return !this.#read.has(blockIndex) && !cache.has(blockIndex) && blockIndex < tokens.blockCount;
  }

  /** Looks up some blocks beyond the one at hand. A failure is met by the block's own lookup. */
  #lookAhead(): void {
    const { tokens } = this.#parts;
    while (this.#lookups.size < LOOKUPS_AT_ONCE) {
      const next = this.#ahead.next();
      if (next.done === true) return;
      const blockIndex = next.value;
      if (!this.#isDue(blockIndex) || tokens.stateOf(blockIndex) !== BlockState.Unknown) continue;
      const lookup = tokens
        .learn(blockIndex)
        .catch(() => undefined)
        .finally(() => this.#lookups.delete(blockIndex));
      this.#lookups.set(blockIndex, lookup);
    }
  }

  /** Most of what the client has read so far is not in the profile. */
  #isElsewhere(): boolean {
    return this.#others.size >= JUDGED_BLOCKS && this.#others.size > this.#read.size;
  }

  async #bring(blockIndex: number, hasRoom: boolean): Promise<void> {
    this.#unread.add(blockIndex);
    if (hasRoom) this.#inMemory.add(blockIndex);
    this.#broughtBlocks += 1;
    await this.#parts.fetcher.fetch(blockIndex, Lane.Prefetch, hasRoom).block;
  }

  async #untilRead(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', leave, { once: true });
      this.#goOn = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
    });
  }
}
