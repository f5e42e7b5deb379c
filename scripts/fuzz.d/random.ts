/** Numbers that look random: fast, and the same for the same seed and input, so that any input can be made again. */
export class Random {
  #state: number;

  constructor(seed: number, inputIndex: number) {
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(inputIndex + 1, 0xc2b2ae35)) >>> 0;
    // The first numbers of neighbours are alike.
    for (let round = 0; round < 4; round += 1) this.word();
  }

  /** 32 bits: the generator mulberry32. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return (bits ^ (bits >>> 14)) >>> 0;
  }

  /** A whole number of at least 0 and below `below`, which is at most 2^32. */
  below(below: number): number {
    return Math.floor((this.word() / 2 ** 32) * below);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** One of some. @throws {RangeError} when there are none. */
  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError('nothing to pick from');
    return choice;
  }
}
