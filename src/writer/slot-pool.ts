import { AssertionError } from '../util/assert.js';

const SLOTS_PER_SLAB = 1024;

/** Small arrays of words, all of one length, that are taken and given back: a few large arrays hold all of them. */
export class SlotPool {
  readonly wordCount: number;
  readonly #slabs: Uint32Array[] = [];
  readonly #free: number[] = [];
  #usedCount = 0;

  /** @param wordCount of one slot. */
  constructor(wordCount: number) {
    this.wordCount = wordCount;
  }

  /** Bytes of memory that the slots take. */
  get memoryBytes(): number {
    return this.#slabs.length * SLOTS_PER_SLAB * this.wordCount * 4;
  }

  /** Takes a slot, with any contents. */
  take(): number {
    const slot = this.#free.pop() ?? this.#usedCount++;
    if (slot >= this.#slabs.length * SLOTS_PER_SLAB) {
      this.#slabs.push(new Uint32Array(SLOTS_PER_SLAB * this.wordCount));
    }
    return slot;
  }

  /** Gives a slot back. */
  give(slot: number): void {
    this.#free.push(slot);
  }

  /** The array that holds a slot; it begins at {@link start}. */
  slab(slot: number): Uint32Array {
    const slab = this.#slabs[Math.floor(slot / SLOTS_PER_SLAB)];
    if (slab === undefined) throw new AssertionError(`slot ${slot} was never taken`);
    return slab;
  }

  /** Where a slot begins in its slab, in words. */
  start(slot: number): number {
    return (slot % SLOTS_PER_SLAB) * this.wordCount;
  }
}
