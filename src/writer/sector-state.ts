import { BLOCK_BYTES } from '../ebs/constants.js';
import { KIB } from '../util/units.js';

/** The grain of validity: disks write a sector whole or not at all, also when the power fails. */
export const SECTOR_BYTES = 512;
export const SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES;

/** What most file systems write at once, and what a staged sector costs on the disk at least. */
export const PAGE_BYTES = 4 * KIB;
export const SECTORS_PER_PAGE = PAGE_BYTES / SECTOR_BYTES;
export const PAGES_PER_BLOCK = BLOCK_BYTES / PAGE_BYTES;

/** What a layer has for a sector. In two bits: the lower one says that its data file has bytes there. */
export const SectorState = {
  /** Nothing: what lies beneath shows through. */
  Through: 0,
  /** Bytes, in the data file. */
  Data: 1,
  /** Zeros. */
  Zero: 2,
  /** Zeros, over bytes in the data file that nobody wants any more, and that still take their space. */
  Cleared: 3,
} as const;
export type SectorState = (typeof SectorState)[keyof typeof SectorState];

/** True for zeros of either kind. */
export function isZeroState(state: number): boolean {
  return state >= SectorState.Zero;
}
