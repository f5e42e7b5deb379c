import { formatBytes } from '../util/units.js';
import type { DiskMap, MapLayer } from './disk-map.js';

/** What the terminal can show. */
export interface TextStyle {
  /** Of the terminal. */
  readonly columns: number;
  /** Block elements rather than plain ASCII. */
  readonly isUnicode: boolean;
  readonly isColoured: boolean;
}

const ROWS_MAX = 16;
const COLUMNS_MIN = 24;
const COLUMNS_MAX = 200;
const LABEL_COLUMNS = 10;
/** `|` on both sides, and a space. */
const FRAME_COLUMNS = 3;

/** From nothing to all; before them what was not looked at. */
const UNICODE_SHADES = ['?', '·', '░', '▒', '▓', '█'] as const;
const ASCII_SHADES = ['?', '.', ':', 'o', 'O', '#'] as const;

const COLOURS: Readonly<Record<MapLayer, string>> = {
  data: '\u001b[36m',
  changed: '\u001b[33m',
  zeroed: '\u001b[35m',
};
const COLOUR_END = '\u001b[0m';

/** The cells of one row of a picture. */
export function textColumns({ columns }: TextStyle): number {
  return Math.min(COLUMNS_MAX, Math.max(COLUMNS_MIN, columns)) - LABEL_COLUMNS - FRAME_COLUMNS;
}

/** As many cells as a picture in text has. */
export function textCells(style: TextStyle): number {
  return textColumns(style) * ROWS_MAX;
}

/** One layer of a map as lines: each begins with where on the disk it begins. @param blockBytes of each block. */
export function drawLayer(
  map: DiskMap,
  layer: MapLayer,
  style: TextStyle,
  blockBytes: number,
): readonly string[] {
  const columns = textColumns(style);
  const lines: string[] = [];
  for (let first = 0; first < map.cellCount; first += columns) {
    const label = labelOf(map.firstBlockOf(first) * blockBytes).padStart(LABEL_COLUMNS);
    let cells = '';
    for (let cell = first; cell < Math.min(first + columns, map.cellCount); cell += 1) {
      cells += shadeOf(map.shareOf(layer, cell), style);
    }
    const shown = style.isColoured ? `${COLOURS[layer]}${cells}${COLOUR_END}` : cells;
    lines.push(`${label} |${shown}|`);
  }
  return lines;
}

/** What the shades stand for. */
export function legendOf({ isUnicode }: TextStyle): string {
  const [unknown, none, ...shades] = isUnicode ? UNICODE_SHADES : ASCII_SHADES;
  const texts = ['up to a quarter', 'half', 'three quarters', 'all'];
  return [
    `${none} none`,
    ...shades.map((shade, index) => `${shade} ${texts[index] ?? ''}`),
    `${unknown} not looked at`,
  ].join('  ');
}

function shadeOf(share: number | undefined, { isUnicode }: TextStyle): string {
  const shades = isUnicode ? UNICODE_SHADES : ASCII_SHADES;
  if (share === undefined) return shades[0];
  return shades[1 + Math.ceil(Math.min(1, share) * 4)] ?? shades[5];
}

/** A place on the disk, short. */
function labelOf(bytes: number): string {
  return bytes === 0 ? '0' : formatBytes(bytes);
}
