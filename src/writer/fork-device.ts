import type {
  BlockDevice,
  Extent,
  ExtentOptions,
  ExtentSource,
  ReadIntoResult,
  ReadResult,
  ReadOptions,
  RequestOptions,
  WriteOptions,
  ZeroOptions,
} from '../device/block-device.js';
import { mergeExtents } from '../device/extent-list.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { assert, AssertionError } from '../util/assert.js';
import { isWithin } from '../util/ranges.js';
import { formatBytes } from '../util/units.js';
import type { CommitWishes, LastCommit } from './fork-facts.js';
import type { ForkStore } from './fork-store.js';
import { copyChunks, ForkView, StagedFlag } from './fork-view.js';
import { Gate } from './gate.js';
import type { Layer } from './layer.js';
import { RangeLock, type Release } from './range-lock.js';
import { Reopener } from './reopener.js';
import { SECTOR_BYTES } from './sector-state.js';

/** The name of what is staged, as a bitmap of QEMU's. */
export const FORK_BITMAP = 'qemu:dirty-bitmap:fork';

/** Told of what happens to blocks; must be quick. */
export interface BlockObserver {
  /** The blocks from `startBlock` up to, not including, `endBlock` are about to change, or have changed. */
  changed(startBlock: number, endBlock: number): void;
  /** Called at the end of each flush; waited for. */
  flushed?(): Promise<void>;
}

/**
 * A disk that can be written: staged data over a base that cannot. All connections share it, and a flush on one covers
 * what was answered on every other.
 *
 * The grain is a sector. A write of part of one reads the rest of it first, which may need the base.
 */
export class ForkDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly multiConnection = true;
  readonly fastZero = true;
  readonly #store: ForkStore;
  readonly #gate = new Gate();
  readonly #lock = new RangeLock();
  readonly #reopener: Reopener;
  #view: ForkView;
  /** Resolves when nobody reads through a view that was replaced. */
  #retired: Promise<unknown> = Promise.resolve();
  #observer: BlockObserver | undefined;

  /** @param base of the same size, which the device closes. */
  constructor(store: ForkStore, base: BlockDevice) {
    const { origin } = store.state;
    assert(base.sizeBytes === origin.sizeBytes, `a base of ${base.sizeBytes} bytes`);
    this.sizeBytes = origin.sizeBytes;
    this.#store = store;
    this.#reopener = new Reopener(store);
    this.#view = this.#viewOver(base);
  }

  get description(): string {
    const { baseSnapshotId } = this.#store.state;
    const on = baseSnapshotId === undefined ? 'blank disk' : `fork of ${baseSnapshotId}`;
    return `writable ${on}, ${formatBytes(this.sizeBytes)}`;
  }

  set observer(observer: BlockObserver | undefined) {
    this.#observer = observer;
  }

  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult> {
    this.#check(offset, lengthBytes);
    return this.#view.read(offset, lengthBytes, options);
  }

  readInto(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult {
    this.#check(offset, lengthBytes);
    return this.#view.readInto(offset, lengthBytes, target, targetStart);
  }

  write(offset: number, data: Uint8Array, options?: WriteOptions): void | Promise<void> {
    this.#check(offset, data.length);
    const isWhole = offset % SECTOR_BYTES === 0 && data.length % SECTOR_BYTES === 0;
    const isFree = this.#gate.isOpen && this.#lock.isFree(offset, offset + data.length);
    if (!isFree || !isWhole || options?.fua === true || this.#store.isCrowded) {
      return this.#writeSlowly(offset, data, options);
    }
    const written = this.#stage(offset, data);
    // What is done at once nobody can come between; else the range is taken before anybody else has a turn.
    if (written !== undefined) return this.#endLocked(written, offset, data.length);
  }

  async flush(_options?: RequestOptions): Promise<void> {
    // What a freeze moves is durable at its end.
    while (this.#gate.shut !== undefined) await this.#gate.shut;
    await this.#store.flushPoint();
    await this.#observer?.flushed?.();
  }

  /** Makes the whole sectors of the range zeros; what is cut off at its ends keeps its content. */
  async trim(offset: number, lengthBytes: number, options?: WriteOptions): Promise<void> {
    this.#check(offset, lengthBytes);
    const start = Math.ceil(offset / SECTOR_BYTES) * SECTOR_BYTES;
    const end = Math.floor((offset + lengthBytes) / SECTOR_BYTES) * SECTOR_BYTES;
    await this.#change(start, Math.max(start, end), options, () => this.#clear(start, end));
  }

  async zero(offset: number, lengthBytes: number, options?: ZeroOptions): Promise<void> {
    this.#check(offset, lengthBytes);
    const start = Math.ceil(offset / SECTOR_BYTES) * SECTOR_BYTES;
    const end = Math.floor((offset + lengthBytes) / SECTOR_BYTES) * SECTOR_BYTES;
    await this.#change(offset, offset + lengthBytes, options, async () => {
      if (start > end) return this.#writeParts(offset, Buffer.alloc(lengthBytes));
      if (start > offset) await this.#writeParts(offset, Buffer.alloc(start - offset));
      this.#clear(start, end);
      if (end < offset + lengthBytes) await this.#writeParts(end, Buffer.alloc(offset + lengthBytes - end));
    });
  }

  cache(offset: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    this.#check(offset, lengthBytes);
    return this.#view.cache(offset, lengthBytes, options);
  }

  extents(offset: number, lengthBytes: number, options: ExtentOptions): Promise<readonly Extent[]> {
    this.#check(offset, lengthBytes);
    return this.#view.extents(offset, lengthBytes, options);
  }

  /**
   * Reads a block into `room` while nobody changes it; `begin` is called before, with nobody changing it either.
   *
   * @returns false where it is zeros as a whole, and known to be: `room` is left alone then.
   */
  async readBlock(block: number, room: Buffer, begin: () => void): Promise<boolean> {
    const start = block * BLOCK_BYTES;
    const release = await this.#lock.take(start, start + BLOCK_BYTES);
    try {
      begin();
      return await this.#view.readBlock(block, room);
    } finally {
      release();
    }
  }

  /**
   * What has been written, trimmed and zeroed since the base, by sectors: 1 is dirty. During a commit the base is still the
   * one before; after it all is clean again. [qemu: nbd.txt]
   */
  get metaContexts(): ReadonlyMap<string, ExtentSource> {
    const extents: ExtentSource['extents'] = (offset, lengthBytes, { extentsMax }) =>
      mergeExtents(
        this.stagedExtents(offset, lengthBytes, extentsMax).map((extent) => ({
          ...extent,
          flags: extent.flags & StagedFlag.Staged,
        })),
      );
    return new Map([[FORK_BITMAP, { extents }]]);
  }

  /** What is staged at this moment, from the beginning of a range on, in the flags of {@link StagedFlag}. */
  stagedExtents(offset: number, lengthBytes: number, extentsMax: number): readonly Extent[] {
    this.#check(offset, lengthBytes);
    return this.#view.stagedExtents(offset, lengthBytes, extentsMax);
  }

  /** The base, under all layers. */
  get base(): BlockDevice {
    return this.#view.base;
  }

  /** The frozen layer over the base: what a commit makes a snapshot of. */
  frozenView(): ForkView {
    const { frozen } = this.#store.state;
    assert(frozen !== undefined, 'nothing is frozen');
    return new ForkView([{ layer: frozen, data: this.#store.dataOf(frozen.id) }], this.base);
  }

  /**
   * Ends the layer that takes changes at a point where no request is half done, and begins another one.
   *
   * @param atLastFlush as it was at the last flush; what has changed since goes into the new layer.
   */
  async freeze(wishes: CommitWishes, atLastFlush = false): Promise<void> {
    await this.#gate.alone(async () => {
      try {
        if (!atLastFlush) await this.#store.freeze(wishes);
        else await this.#store.freezeAtPoint(wishes, (next) => this.#readThrough(next));
      } finally {
        // Whether or not it is durable already, memory has gone on.
        this.#replaceView(this.base);
      }
    });
  }

  /** Has everybody read what is in `next` from there, over everything else. */
  async #readThrough(next: Layer): Promise<void> {
    const { active } = this.#store.state;
    const layers = [next, active].map((layer) => ({ layer, data: this.#store.dataOf(layer.id) }));
    this.#retired = Promise.all([this.#retired, this.#view.retire()]);
    this.#view = new ForkView(layers, this.base);
    await this.#retired;
  }

  /** Goes on over the snapshot that the frozen layer has become, and drops that layer. */
  async rebase(commit: LastCommit, base: BlockDevice): Promise<void> {
    const { frozen } = this.#store.state;
    assert(
      frozen !== undefined && base.sizeBytes === this.sizeBytes,
      'a base of the same size for a frozen layer',
    );
    const before = this.base;
    try {
      await this.#store.setCommitted(commit);
    } finally {
      this.#replaceView(base);
    }
    await this.#retired;
    await before.close?.();
    await this.#store.removeLayer(frozen.id);
  }

  /** Makes everything durable and lets go of it. */
  async close(): Promise<void> {
    try {
      await this.#store.close();
    } finally {
      await this.base.close?.();
    }
  }

  #replaceView(base: BlockDevice): void {
    this.#retired = Promise.all([this.#retired, this.#view.retire()]);
    this.#view = this.#viewOver(base);
  }

  #viewOver(base: BlockDevice): ForkView {
    const { active, frozen } = this.#store.state;
    const layers = frozen === undefined ? [active] : [active, frozen];
    return new ForkView(
      layers.map((layer) => ({ layer, data: this.#store.dataOf(layer.id) })),
      base,
    );
  }

  async #writeSlowly(offset: number, data: Uint8Array, options: WriteOptions | undefined): Promise<void> {
    await this.#gate.enter();
    await this.#writeLocked(this.#lock.take(...wholeSectors(offset, offset + data.length)), offset, data);
    await this.#afterChange(options);
  }

  async #writeLocked(lock: Release | Promise<Release>, offset: number, data: Uint8Array): Promise<void> {
    const release = await lock;
    try {
      await this.#writeParts(offset, data);
    } finally {
      this.#leave(release);
    }
  }

  /** Holds a range that was free until what was begun there has ended. */
  async #endLocked(written: Promise<void>, offset: number, lengthBytes: number): Promise<void> {
    void this.#gate.enter();
    const release = this.#lock.take(offset, offset + lengthBytes);
    assert(!(release instanceof Promise), 'the range was free');
    try {
      await written;
    } finally {
      this.#leave(release);
    }
  }

  async #change(
    start: number,
    end: number,
    options: WriteOptions | undefined,
    change: () => void | Promise<void>,
  ): Promise<void> {
    if (start < end) {
      await this.#gate.enter();
      const release = await this.#lock.take(...wholeSectors(start, end));
      try {
        await change();
      } finally {
        this.#leave(release);
      }
    }
    await this.#afterChange(options);
  }

  async #afterChange(options: WriteOptions | undefined): Promise<void> {
    await this.#store.settle();
    if (options?.fua === true) await this.flush();
  }

  #leave(release: Release): void {
    release();
    this.#gate.leave();
  }

  /** Writes any bytes: sectors that are covered in part are read first. The range is locked. */
  async #writeParts(offset: number, data: Uint8Array): Promise<void> {
    const [start, end] = wholeSectors(offset, offset + data.length);
    if (start === offset && end === offset + data.length) {
      await this.#stage(offset, data);
      return;
    }
    const whole = Buffer.allocUnsafe(end - start);
    const firstEnd = start + SECTOR_BYTES;
    if (start < offset) await this.#readInto(start, whole.subarray(0, SECTOR_BYTES));
    if (end > offset + data.length && (end > firstEnd || start === offset)) {
      await this.#readInto(end - SECTOR_BYTES, whole.subarray(end - SECTOR_BYTES - start));
    }
    whole.set(data, offset - start);
    await this.#stage(start, whole);
  }

  async #readInto(offset: number, target: Buffer): Promise<void> {
    copyChunks(await this.#view.read(offset, target.length), target);
  }

  /** Stages whole sectors, once what was put of their blocks is known not to hold any more. The range is locked. */
  #stage(offset: number, data: Uint8Array): void | Promise<void> {
    const startBlock = Math.floor(offset / BLOCK_BYTES);
    const endBlock = Math.ceil((offset + data.length) / BLOCK_BYTES);
    this.#observer?.changed(startBlock, endBlock);
    const reopened = this.#reopener.reopen(startBlock, endBlock);
    if (reopened === undefined) return this.#store.write(offset / SECTOR_BYTES, data);
    return reopened.then(() => this.#store.write(offset / SECTOR_BYTES, data));
  }

  #clear(start: number, end: number): void {
    if (start >= end) return;
    this.#observer?.changed(Math.floor(start / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES));
    this.#store.clear(start / SECTOR_BYTES, (end - start) / SECTOR_BYTES);
  }

  #check(offset: number, lengthBytes: number): void {
    if (!isWithin(offset, lengthBytes, this.sizeBytes))
      throw new AssertionError(`${lengthBytes} bytes at ${offset} of ${this.sizeBytes}`);
  }
}

function wholeSectors(start: number, end: number): [number, number] {
  return [Math.floor(start / SECTOR_BYTES) * SECTOR_BYTES, Math.ceil(end / SECTOR_BYTES) * SECTOR_BYTES];
}
