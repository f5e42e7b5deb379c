import { assert, AssertionError } from '../util/assert.js';
import { isWithin, spansOf } from '../util/ranges.js';
import { formatBytes, KIB } from '../util/units.js';
import {
  AllocationFlag,
  ReadIntoResult,
  type BlockDevice,
  type Extent,
  type ExtentOptions,
  type ReadChunk,
  type ReadOptions,
  type ReadResult,
  type WriteOptions,
  type WriteRoom,
  type ZeroOptions,
} from './block-device.js';
import { ExtentListBuilder, HOLE_FLAGS } from './extent-list.js';
import { PageTable } from './page-table.js';

/**
 * 256 KiB: what most clients send at once at most, so that a large write is one page and is received by one call of the
 * system. The system gives the part of a page that nobody wrote to no memory yet.
 */
const PAGE_BYTES = 256 * KIB;

/**
 * A disk in memory, zeros at first. Pages are allocated by the first write to them, so that a large disk costs
 * only what is in it, and every operation costs time by what is allocated rather than by its length.
 *
 * It is as durable as the process: `flush` and `fua` have nothing to do.
 */
export class MemoryDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly description: string;
  readonly multiConnection = true;
  readonly fastZero = true;
  readonly #pages = new PageTable(PAGE_BYTES);

  /**
   * @param sizeBytes a multiple of 512, at least 512.
   * @param description default: says what it is.
   */
  constructor(sizeBytes: number, description?: string) {
    assert(
      Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % 512 === 0,
      `a memory device of ${sizeBytes} bytes`,
    );
    this.sizeBytes = sizeBytes;
    this.description = description ?? `scratch disk in memory, ${formatBytes(sizeBytes)}`;
  }

  /** Bytes of memory that its pages take, beside at most 4 MiB that are kept for those to come. */
  get allocatedBytes(): number {
    return this.#pages.pageCount * PAGE_BYTES;
  }

  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult {
    this.#check(offset, lengthBytes);
    const chunks: ReadChunk[] = [];
    let zeroBytes = 0;
    for (const span of spansOf(offset, lengthBytes, PAGE_BYTES)) {
      const page = this.#pages.lend(span.unitIndex, options?.lease);
      if (page === undefined) {
        zeroBytes += span.lengthBytes;
        continue;
      }
      if (zeroBytes > 0) chunks.push({ zeroBytes });
      zeroBytes = 0;
      chunks.push(page.subarray(span.startInUnit, span.startInUnit + span.lengthBytes));
    }
    if (zeroBytes > 0) chunks.push({ zeroBytes });
    return chunks;
  }

  readInto(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult {
    this.#check(offset, lengthBytes);
    const pageIndex = Math.floor(offset / PAGE_BYTES);
    const start = offset - pageIndex * PAGE_BYTES;
    // Reads across a border are left to `read`, so that its holes remain holes.
    if (start + lengthBytes > PAGE_BYTES) return ReadIntoResult.NotAtHand;
    const page = this.#pages.get(pageIndex);
    if (page === undefined) return ReadIntoResult.Zeros;
    page.copy(target, targetStart, start, start + lengthBytes);
    return ReadIntoResult.Filled;
  }

  write(offset: number, data: Uint8Array, _options?: WriteOptions): void {
    this.#check(offset, data.length);
    let done = 0;
    while (done < data.length) {
      const pageIndex = Math.floor((offset + done) / PAGE_BYTES);
      const start = offset + done - pageIndex * PAGE_BYTES;
      const partBytes = Math.min(PAGE_BYTES - start, data.length - done);
      const page = partBytes === PAGE_BYTES ? this.#pages.replace(pageIndex) : this.#pages.modify(pageIndex);
      page.set(partBytes === data.length ? data : data.subarray(done, done + partBytes), start);
      done += partBytes;
    }
  }

  /** For writes that hold whole pages: those become the disk's as they are, and only what is beside them is copied. */
  roomFor(offset: number, lengthBytes: number): WriteRoom | undefined {
    this.#check(offset, lengthBytes);
    if (Math.ceil(offset / PAGE_BYTES) >= Math.floor((offset + lengthBytes) / PAGE_BYTES)) return undefined;
    const spans = [...spansOf(offset, lengthBytes, PAGE_BYTES)];
    const pieces = spans.map((span) =>
      span.lengthBytes === PAGE_BYTES ? this.#pages.take() : Buffer.allocUnsafeSlow(span.lengthBytes),
    );
    const commit = (): void => {
      for (const [index, { unitIndex, startInUnit }] of spans.entries()) {
        const piece = pieces[index];
        assert(piece !== undefined, 'a piece for each page');
        if (piece.length === PAGE_BYTES) this.#pages.put(unitIndex, piece);
        else this.#pages.modify(unitIndex).set(piece, startInUnit);
      }
    };
    return { pieces, commit };
  }

  /** Does nothing: there is nothing more durable to go to. */
  flush(): void {
    return undefined;
  }

  /** Gives back the pages that lie wholly in the range, and zeroes the edges. */
  trim(offset: number, lengthBytes: number, _options?: WriteOptions): void {
    this.#clear(offset, lengthBytes, false);
  }

  zero(offset: number, lengthBytes: number, options?: ZeroOptions): void {
    this.#clear(offset, lengthBytes, options?.noHole === true);
  }

  /** Does nothing: all of it is in memory. */
  cache(offset: number, lengthBytes: number): void {
    this.#check(offset, lengthBytes);
  }

  extents(offset: number, lengthBytes: number, options: ExtentOptions): readonly Extent[] {
    this.#check(offset, lengthBytes);
    const list = new ExtentListBuilder(options.extentsMax);
    const end = offset + lengthBytes;
    let at = offset;
    while (at < end) {
      const run = this.#pages.runAt(Math.floor(at / PAGE_BYTES), Math.ceil(end / PAGE_BYTES));
      const runEnd = Math.min(run.endIndex * PAGE_BYTES, end);
      const flags =
        run.state === 'allocated' ? 0 : run.state === 'reserved' ? AllocationFlag.Zero : HOLE_FLAGS;
      if (!list.add(runEnd - at, flags)) break;
      at = runEnd;
    }
    return list.build();
  }

  #clear(offset: number, lengthBytes: number, isReserved: boolean): void {
    this.#check(offset, lengthBytes);
    const end = offset + lengthBytes;
    const firstWhole = Math.ceil(offset / PAGE_BYTES);
    // The last page may be cut by the end of the disk; it counts as whole then.
    const lastWhole = end === this.sizeBytes ? Math.ceil(end / PAGE_BYTES) : Math.floor(end / PAGE_BYTES);
    if (firstWhole > lastWhole) {
      this.#pages.fillPart(lastWhole, offset - lastWhole * PAGE_BYTES, lengthBytes, isReserved);
      return;
    }
    const headBytes = firstWhole * PAGE_BYTES - offset;
    if (headBytes > 0) {
      this.#pages.fillPart(
        firstWhole - 1,
        PAGE_BYTES - headBytes,
        Math.min(headBytes, lengthBytes),
        isReserved,
      );
    }
    this.#pages.clearRange(firstWhole, lastWhole, isReserved);
    const tailBytes = end - lastWhole * PAGE_BYTES;
    if (tailBytes > 0) this.#pages.fillPart(lastWhole, 0, tailBytes, isReserved);
  }

  #check(offset: number, lengthBytes: number): void {
    if (!isWithin(offset, lengthBytes, this.sizeBytes))
      throw new AssertionError(`${lengthBytes} bytes at ${offset} of ${this.sizeBytes}`);
  }
}
