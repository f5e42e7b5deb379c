/** How cells are laid out: row by row, each from left to right. */
export interface Grid {
  readonly columns: number;
  readonly rows: number;
}

/** About twice as wide as high, with no more cells than there are blocks. @param cellsMax a power of 4, times 2. */
export function gridFor(blockCount: number, cellsMax: number): Grid {
  const cells = Math.min(blockCount, cellsMax);
  const columns = 2 ** Math.ceil(Math.log2(Math.sqrt(2 * cells)));
  return { columns, rows: Math.ceil(cells / columns) };
}
