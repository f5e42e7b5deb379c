import { assert } from '../util/assert.js';
import { AllocationFlag, type Extent } from './block-device.js';

/** The flags in `base:allocation` of a range that was never written: it costs nothing and reads as zeros. */
export const HOLE_FLAGS = AllocationFlag.Hole | AllocationFlag.Zero;

/** Gathers extents in order of offset: neighbours with equal flags become one, and the number is bounded. */
export class ExtentListBuilder {
  readonly #extentsMax: number;
  readonly #extents: { lengthBytes: number; flags: number }[] = [];

  /** @param extentsMax how many extents the list may hold, at least 1. */
  constructor(extentsMax: number) {
    assert(extentsMax >= 1, `an extent list of at most ${extentsMax}`);
    this.#extentsMax = extentsMax;
  }

  /**
   * Adds the next extent; an empty one is left out.
   *
   * @returns false when there was no room for it: the list is complete, and describes less than was asked.
   */
  add(lengthBytes: number, flags: number): boolean {
    if (lengthBytes === 0) return true;
    const last = this.#extents.at(-1);
    if (last?.flags === flags) {
      last.lengthBytes += lengthBytes;
      return true;
    }
    if (this.#extents.length === this.#extentsMax) return false;
    this.#extents.push({ lengthBytes, flags });
    return true;
  }

  /** What was gathered. */
  build(): readonly Extent[] {
    return this.#extents;
  }
}

/** The same extents with neighbours of equal flags joined. */
export function mergeExtents(extents: readonly Extent[]): readonly Extent[] {
  if (!extents.some((extent, index) => extent.flags === extents[index + 1]?.flags)) return extents;
  const list = new ExtentListBuilder(extents.length);
  for (const extent of extents) list.add(extent.lengthBytes, extent.flags);
  return list.build();
}

/**
 * What is wrong with a device's answer about the range of `lengthBytes`, in words, or undefined when it keeps to
 * the contract of `ExtentSource`.
 */
export function faultInExtents(
  extents: readonly Extent[],
  lengthBytes: number,
  extentsMax: number,
): string | undefined {
  if (extents.length === 0) return 'no extent';
  if (extents.length > extentsMax) return `${extents.length} extents where ${extentsMax} were asked for`;
  let totalBytes = 0;
  for (const extent of extents) {
    if (!Number.isSafeInteger(extent.lengthBytes) || extent.lengthBytes < 1) {
      return `an extent of ${extent.lengthBytes} bytes`;
    }
    if (!Number.isInteger(extent.flags) || extent.flags < 0 || extent.flags > 0xffff_ffff) {
      return `an extent with the flags ${extent.flags}`;
    }
    totalBytes += extent.lengthBytes;
  }
  return totalBytes > lengthBytes
    ? `extents of ${totalBytes} bytes for a range of ${lengthBytes}`
    : undefined;
}
