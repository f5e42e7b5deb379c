import { PNG } from 'pngjs';
import type { DiskMap } from './disk-map.js';
import { gridFor } from './grid.js';
import { colourOf } from './palette.js';

/** 512 by 256 cells at most; each is a square of so many pixels that the picture is about 1024 wide. */
export const PNG_CELLS_MAX = 2 ** 17;
const WIDTH = 1024;

/** A map as a PNG file: row by row, the disk begins at the top left. */
export function drawPng(map: DiskMap, showsChanges: boolean): Buffer {
  const { columns, rows } = gridFor(map.cellCount, PNG_CELLS_MAX);
  const scale = Math.max(1, Math.floor(WIDTH / columns));
  const png = new PNG({ width: columns * scale, height: rows * scale, colorType: 2 });
  // What lies past the end is white.
  png.data.fill(0xff);
  for (let cell = 0; cell < map.cellCount; cell += 1) {
    const colour = colourOf(map, cell, showsChanges);
    const left = (cell % columns) * scale;
    const top = Math.floor(cell / columns) * scale;
    for (let y = top; y < top + scale; y += 1) {
      for (let x = left; x < left + scale; x += 1) png.data.set(colour, 4 * (y * png.width + x));
    }
  }
  return PNG.sync.write(png, { colorType: 2 });
}
