import { MapLayer, type DiskMap } from './disk-map.js';

/** Red, green and blue, each from 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** Nothing was looked at. */
const UNKNOWN: Colour = [203, 203, 203];
/** Never written. */
export const EMPTY: Colour = [238, 240, 243];
/** A full cell of each layer. They differ in lightness too, for those who do not tell colours apart. */
export const FULL: Readonly<Record<MapLayer, Colour>> = {
  [MapLayer.Data]: [34, 94, 168],
  [MapLayer.Changed]: [217, 119, 6],
  [MapLayer.Zeroed]: [153, 27, 67],
};
/** A cell with a single block in it can be told from one with none. */
const LEAST_SHARE = 0.2;

/** What a cell looks like: its data, and over it what has changed where that is shown. */
export function colourOf(map: DiskMap, cell: number, showsChanges: boolean): Colour {
  const changed = showsChanges ? (map.shareOf(MapLayer.Changed, cell) ?? 0) : 0;
  if (changed > 0) {
    const zeroed = map.shareOf(MapLayer.Zeroed, cell) ?? 0;
    const full = blend(FULL.changed, FULL.zeroed, zeroed / changed);
    return blend(EMPTY, full, visible(changed));
  }
  const data = map.shareOf(MapLayer.Data, cell);
  if (data === undefined) return UNKNOWN;
  // Where changes are shown, what has not changed stays in the background.
  return data === 0 ? EMPTY : blend(EMPTY, FULL.data, visible(data) * (showsChanges ? 0.45 : 1));
}

/** `#225ea8` */
export function hexOf(colour: Colour): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}

function visible(share: number): number {
  return LEAST_SHARE + (1 - LEAST_SHARE) * share;
}

function blend([r, g, b]: Colour, [toR, toG, toB]: Colour, part: number): Colour {
  const mix = (from: number, to: number): number => Math.round(from + (to - from) * part);
  return [mix(r, toR), mix(g, toG), mix(b, toB)];
}
