import { assert } from '../util/assert.js';
import { MixedEntry } from './block-table.js';
import { isZeroState, PAGES_PER_BLOCK, SECTORS_PER_BLOCK, SECTORS_PER_PAGE } from './sector-state.js';
import { SlotPool } from './slot-pool.js';
import { changeEntries, endOfRun, ENTRIES_PER_WORD, entryAt, uniformWord } from './two-bit-words.js';

/** What became of a block: mixed, with its slot, or the same all over. */
export interface DetailOutcome {
  readonly entry: number;
  /** Undefined when the block is the same all over, and its slot has been given back. */
  readonly slot: number | undefined;
}

/** The states of the pages of mixed blocks, or of their sectors where a page is mixed itself. */
export class BlockDetails {
  readonly #coarse = new SlotPool(PAGES_PER_BLOCK / ENTRIES_PER_WORD);
  readonly #fine = new SlotPool(SECTORS_PER_BLOCK / ENTRIES_PER_WORD);

  /** Bytes of memory. */
  get memoryBytes(): number {
    return this.#coarse.memoryBytes + this.#fine.memoryBytes;
  }

  /** The state at `sector` of the block, and how far it goes, at most to `limit`; zeros of both kinds are the same. */
  runAt(slot: number, entry: number, sector: number, limit: number): { state: number; end: number } {
    return this.#runAt(slot, entry, sector, limit, isZeroState);
  }

  /** As {@link runAt}, with the two kinds of zeros apart. */
  rawRunAt(slot: number, entry: number, sector: number, limit: number): { state: number; end: number } {
    return this.#runAt(slot, entry, sector, limit, () => false);
  }

  #runAt(
    slot: number,
    entry: number,
    sector: number,
    limit: number,
    isMerged: (state: number) => boolean,
  ): { state: number; end: number } {
    const unit = unitOf(entry);
    const pool = this.#poolOf(entry);
    const words = pool.slab(slot);
    const start = pool.start(slot);
    const from = Math.floor(sector / unit);
    const state = entryAt(words, start, from);
    const matches = isMerged(state) ? isMerged : (other: number): boolean => other === state;
    const end = endOfRun(words, start, from + 1, Math.ceil(limit / unit), state, matches);
    return { state, end: Math.min(limit, end * unit) };
  }

  /** Changes the sectors from `from` up to `to` of a mixed block, see `changeEntries`. */
  change(slot: number, entry: number, from: number, to: number, keep: number, set: number): DetailOutcome {
    let at = { slot, entry };
    if (entry === MixedEntry.Coarse && !isByPage(from, to)) at = this.#refine(slot);
    const unit = unitOf(at.entry);
    const pool = this.#poolOf(at.entry);
    const words = pool.slab(at.slot);
    const start = pool.start(at.slot);
    changeEntries(words, start, from / unit, to / unit, keep, set);
    const first = entryAt(words, start, 0);
    const whole = uniformWord(first);
    for (let word = 0; word < pool.wordCount; word += 1) if (words[start + word] !== whole) return at;
    pool.give(at.slot);
    return { entry: first, slot: undefined };
  }

  /** Changes a part of a block that has been `state` all over. */
  split(state: number, from: number, to: number, keep: number, set: number): DetailOutcome {
    const entry = isByPage(from, to) ? MixedEntry.Coarse : MixedEntry.Fine;
    const pool = this.#poolOf(entry);
    const slot = pool.take();
    const start = pool.start(slot);
    pool.slab(slot).fill(uniformWord(state), start, start + pool.wordCount);
    return this.change(slot, entry, from, to, keep, set);
  }

  /** Whether the data file has bytes for a page of the block. */
  isAllocated(slot: number, entry: number, page: number): boolean {
    const pool = this.#poolOf(entry);
    const words = pool.slab(slot);
    const start = pool.start(slot);
    if (entry === MixedEntry.Coarse) return (entryAt(words, start, page) & 1) === 1;
    const sectors = (words[start + (page >>> 1)] ?? 0) >>> ((page & 1) * 16);
    return (sectors & 0x5555) !== 0;
  }

  /** Pages of the block for which the data file has bytes. */
  allocatedPages(slot: number, entry: number): number {
    const pool = this.#poolOf(entry);
    const words = pool.slab(slot);
    const start = pool.start(slot);
    let count = 0;
    for (let word = 0; word < pool.wordCount; word += 1) {
      const allocated = (words[start + word] ?? 0) & 0x5555_5555;
      if (entry === MixedEntry.Coarse) count += bitCount(allocated);
      // A word has the 16 sectors of two pages.
      else count += ((allocated & 0xffff) === 0 ? 0 : 1) + (allocated >>> 16 === 0 ? 0 : 1);
    }
    return count;
  }

  /** A copy of a block's detail. */
  export(slot: number, entry: number): { readonly fine: boolean; readonly words: Uint32Array } {
    const pool = this.#poolOf(entry);
    const start = pool.start(slot);
    return { fine: entry === MixedEntry.Fine, words: pool.slab(slot).slice(start, start + pool.wordCount) };
  }

  /** Takes a detail in that was exported. */
  import(detail: { readonly fine: boolean; readonly words: Uint32Array }): { slot: number; entry: number } {
    const entry = detail.fine ? MixedEntry.Fine : MixedEntry.Coarse;
    const pool = this.#poolOf(entry);
    assert(detail.words.length === pool.wordCount, `a detail of ${detail.words.length} words`);
    const slot = pool.take();
    pool.slab(slot).set(detail.words, pool.start(slot));
    return { slot, entry };
  }

  #refine(coarseSlot: number): { slot: number; entry: number } {
    const slot = this.#fine.take();
    const words = this.#fine.slab(slot);
    const start = this.#fine.start(slot);
    const from = this.#coarse.slab(coarseSlot);
    const fromStart = this.#coarse.start(coarseSlot);
    for (let page = 0; page < PAGES_PER_BLOCK; page += 1) {
      const half = uniformWord(entryAt(from, fromStart, page)) & 0xffff;
      const word = start + (page >>> 1);
      const old = words[word] ?? 0;
      words[word] = ((page & 1) === 0 ? half : (old & 0xffff) | (half << 16)) >>> 0;
    }
    this.#coarse.give(coarseSlot);
    return { slot, entry: MixedEntry.Fine };
  }

  #poolOf(entry: number): SlotPool {
    return entry === MixedEntry.Coarse ? this.#coarse : this.#fine;
  }
}

function unitOf(entry: number): number {
  return entry === MixedEntry.Coarse ? SECTORS_PER_PAGE : 1;
}

function isByPage(from: number, to: number): boolean {
  return from % SECTORS_PER_PAGE === 0 && to % SECTORS_PER_PAGE === 0;
}

/** Bits that are set, added up in pairs, fours and eights side by side. */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
