import type { FileHandle } from 'node:fs/promises';
import { VOLUME_SIZE_MAX_GIB } from '../ebs/constants.js';
import { GIB } from '../util/units.js';

/**
 * The size of a block device, for which Node.js has no call: reading one byte works before its end and gives nothing behind it.
 *
 * @returns bytes; more than the largest volume where the device is larger than that.
 */
export async function deviceSizeBytes(handle: FileHandle): Promise<number> {
  const probe = Buffer.alloc(1);
  let low = 0;
  let high = VOLUME_SIZE_MAX_GIB * GIB + 1;
  // The size is the first position without a byte: at least `low`, at most `high`.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const { bytesRead } = await handle.read(probe, 0, 1, middle);
    if (bytesRead === 1) low = middle + 1;
    else high = middle;
  }
  return low;
}
