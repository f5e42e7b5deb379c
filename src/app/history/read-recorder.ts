import type { BlockDevice, ReadOptions, ReadResult } from '../../device/block-device.js';
import { RangeSet } from '../../device/range-set.js';
import { BLOCK_BYTES } from '../../ebs/constants.js';

/** A device that keeps account of which blocks of 512 KiB were read of another one. */
export class ReadRecorder implements BlockDevice {
  /** The indices of the blocks of which anything was asked for. */
  readonly blocks = new RangeSet();
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult> {
    this.blocks.add(Math.floor(offset / BLOCK_BYTES), Math.ceil((offset + lengthBytes) / BLOCK_BYTES));
    return this.#device.read(offset, lengthBytes, options);
  }
}
