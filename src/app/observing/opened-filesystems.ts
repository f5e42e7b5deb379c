import type { BlockDevice } from '../../device/block-device.js';
import type { Filesystem } from '../../files/filesystem.js';

/** Filesystems that are kept opened. */
const KEPT_MAX = 8;
/**
 * Blocks of journals that are kept in mind for them, all together: as many as the largest journal that mke2fs makes has
 * (1 GiB of 4 KiB). Filesystems with more are opened for each request anew.
 */
const JOURNAL_BLOCKS_MAX = 262_144;

interface Opened {
  readonly device: BlockDevice;
  readonly filesystem: Filesystem;
}

/** Keeps the filesystems that were used last, so that a walk through one does not replay its journal at each step. */
export class OpenedFilesystems {
  /** By the part of the disk and the export's name, those that were used longest ago first. */
  readonly #opened = new Map<string, Opened>();

  /** How many there are. */
  get count(): number {
    return this.#opened.size;
  }

  /** One of this device, which is the one that the export has now. */
  get(key: string, device: BlockDevice): Filesystem | undefined {
    const found = this.#opened.get(key);
    if (found?.device !== device) return undefined;
    this.#opened.delete(key);
    this.#opened.set(key, found);
    return found.filesystem;
  }

  /** Keeps one, and lets go of others for it. */
  add(key: string, opened: Opened): void {
    this.#opened.delete(key);
    this.#opened.set(key, opened);
    let journalBlocks = 0;
    for (const { filesystem } of this.#opened.values()) journalBlocks += filesystem.journalBlockCount;
    for (const [oldest, { filesystem }] of this.#opened) {
      if (this.#opened.size <= KEPT_MAX && journalBlocks <= JOURNAL_BLOCKS_MAX) break;
      journalBlocks -= filesystem.journalBlockCount;
      this.#opened.delete(oldest);
    }
  }

  /** Lets go of those whose devices are not served any more. */
  keepOnly(devices: ReadonlySet<BlockDevice>): void {
    for (const [key, { device }] of this.#opened) {
      if (!devices.has(device)) this.#opened.delete(key);
    }
  }
}
