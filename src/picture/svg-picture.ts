import { formatBytes } from '../util/units.js';
import { MapLayer, type DiskMap } from './disk-map.js';
import { gridFor } from './grid.js';
import { colourOf, EMPTY, FULL, hexOf } from './palette.js';

/** 128 by 64 cells at most. */
export const SVG_CELLS_MAX = 2 ** 13;
const MAP_WIDTH = 768;
const LEFT = 84;
const TOP = 44;
const MARGIN = 16;
const LEGEND_HEIGHT = 40;
/** Rows that have a label. */
const LABELS_MAX = 16;

const LAYER_TEXTS: Readonly<Record<MapLayer, string>> = {
  [MapLayer.Data]: 'written',
  [MapLayer.Changed]: 'changed',
  [MapLayer.Zeroed]: 'became zeros',
};

/** What is written around a picture. */
export interface SvgWords {
  readonly title: string;
  /** How exact it is. */
  readonly note: string;
  readonly showsChanges: boolean;
  /** Of each block. */
  readonly blockBytes: number;
}

/** A map as an SVG file with labels and a legend: row by row, the disk begins at the top left. */
export function drawSvg(map: DiskMap, words: SvgWords): string {
  const { columns, rows } = gridFor(map.cellCount, SVG_CELLS_MAX);
  const size = MAP_WIDTH / columns;
  const [width, height] = [LEFT + MAP_WIDTH + MARGIN, TOP + rows * size + LEGEND_HEIGHT + MARGIN];
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(words.title)}</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${MARGIN}" y="26" font-size="15">${escaped(words.title)}</text>`,
  ];
  const labelEvery = Math.ceil(rows / LABELS_MAX);
  for (let row = 0; row < rows; row += 1) {
    const top = TOP + row * size;
    if (row % labelEvery === 0) {
      const bytes = map.firstBlockOf(row * columns) * words.blockBytes;
      lines.push(
        `<text x="${LEFT - 8}" y="${rounded(top + Math.min(size, 12))}" text-anchor="end">${formatBytes(bytes)}</text>`,
      );
    }
    lines.push(...rowOf(map, { first: row * columns, columns, top, size }, words.showsChanges));
  }
  lines.push(...legend(words, TOP + rows * size + 24), '</svg>', '');
  return lines.join('\n');
}

/** Cells of one colour beside each other are one rectangle. */
function* rowOf(
  map: DiskMap,
  {
    first,
    columns,
    top,
    size,
  }: { readonly first: number; readonly columns: number; readonly top: number; readonly size: number },
  showsChanges: boolean,
): Generator<string, void> {
  const end = Math.min(first + columns, map.cellCount);
  for (let cell = first; cell < end;) {
    const fill = hexOf(colourOf(map, cell, showsChanges));
    let next = cell + 1;
    while (next < end && hexOf(colourOf(map, next, showsChanges)) === fill) next += 1;
    const left = rounded(LEFT + (cell - first) * size);
    yield `<rect x="${left}" y="${rounded(top)}" width="${rounded((next - cell) * size)}" height="${rounded(size)}" fill="${fill}"/>`;
    cell = next;
  }
}

function* legend({ showsChanges, note }: SvgWords, y: number): Generator<string, void> {
  const entries: (readonly [string, string])[] = [
    [hexOf(EMPTY), 'never written'],
    [hexOf(FULL.data), LAYER_TEXTS.data],
  ];
  if (showsChanges)
    entries.push([hexOf(FULL.changed), LAYER_TEXTS.changed], [hexOf(FULL.zeroed), LAYER_TEXTS.zeroed]);
  let x = LEFT;
  for (const [fill, text] of entries) {
    yield `<rect x="${x}" y="${rounded(y - 11)}" width="12" height="12" fill="${fill}" stroke="#999999"/>`;
    yield `<text x="${x + 17}" y="${rounded(y)}">${text}</text>`;
    x += 120;
  }
  yield `<text x="${LEFT}" y="${rounded(y + 20)}" fill="#555555">${escaped(note)}</text>`;
}

function rounded(value: number): number {
  return Number(value.toFixed(2));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
