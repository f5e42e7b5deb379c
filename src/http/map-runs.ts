/** Writes a map as runs of equal cells, see `MapFigures`. */
export class MapRuns {
  #text = '';
  #cell = '';
  #count = 0;

  /** Adds the next cell. @param share from 0 to 1, how much of the cell is in the state. */
  add(letter: string, share: number): void {
    const cell = `${letter}${Math.max(0, Math.min(9, Math.ceil(share * 9)))}`;
    if (cell === this.#cell) {
      this.#count += 1;
      return;
    }
    this.#end();
    this.#cell = cell;
    this.#count = 1;
  }

  /** The whole map. Call it once. */
  finish(): string {
    this.#end();
    return this.#text;
  }

  #end(): void {
    if (this.#count > 0) this.#text += this.#count === 1 ? this.#cell : `${this.#count}${this.#cell}`;
  }
}
