import { BLOCK_BYTES } from '../ebs/constants.js';
import { KIB, MIB } from '../util/units.js';

/** So many reads have to continue a stream, and so much has to have been read in it without a gap, before it counts. */
const JOINS_MIN = 3;
const RUN_BYTES_MIN = 512 * KIB;

/** Places where reading may go on that are remembered: four connections with 16 requests each out of order. */
const CANDIDATES_MAX = 64;

/**
 * How far behind its end a stream still counts requests as its own. Whoever reads the same again from further back is a
 * stream of its own, since the blocks may have left the cache.
 */
const TAIL_BYTES = 8 * MIB;

/** Proven streams that are remembered. */
const PROVEN_MAX = 16;

/** What one stream should have ahead of it. */
export interface StreamWindow {
  /** The first block that it has not begun to read. */
  readonly startIndex: number;
  /** Blocks with data from there on that should be on their way or at hand. At least 1. */
  readonly blockCount: number;
}

/** The end of a run of bytes that were read without a gap, by whichever connections. */
export class ReadStream {
  startOffset: number;
  endOffset: number;
  /** Bytes that were read in it so far. */
  runBytes: number;
  /** Reads that moved the end on. */
  joinCount = 0;
  /** Blocks that it may have ahead of its end; doubles with each block that is read, and stays below what was read. */
  windowBlocks = 0;
  /** Blocks that were fetched for it and that it has not reached yet. A jump to one of them is still the stream. */
  readonly aheadBlocks = new Set<number>();
  /** It reads what was read before and has left the cache since. */
  isRereading = false;
  usedTick = 0;

  constructor(startOffset: number, endOffset: number) {
    this.startOffset = startOffset;
    this.endOffset = endOffset;
    this.runBytes = endOffset - startOffset;
  }

  /** It has been read in order for long enough to tell what comes next. */
  get isProven(): boolean {
    return (
      this.joinCount >= JOINS_MIN &&
      this.runBytes >= RUN_BYTES_MIN &&
      lastBlockOf(this.endOffset) > Math.floor(this.startOffset / BLOCK_BYTES)
    );
  }

  /** What it should have ahead of it now; undefined when that is nothing. */
  get window(): StreamWindow | undefined {
    if (this.windowBlocks === 0) return undefined;
    return { startIndex: lastBlockOf(this.endOffset) + 1, blockCount: this.windowBlocks };
  }
}

export interface ReadStreamsOptions {
  /** Blocks that a stream may have ahead of it. */
  readonly windowBlocksMax: number;
  /** A proven stream was forgotten: what was asked for it and has not begun is of no use any more. */
  readonly onForgotten?: (stream: ReadStream) => void;
}

/**
 * Finds the sequential streams in the reads of one disk, by position alone: it does not matter over how many
 * connections a stream comes, nor that its requests overtake one another. A stream is a range of bytes that were read
 * without a gap; a read that touches it extends it, and ranges that meet become one.
 *
 * A stream is proven by three reads that continued it, half a mebibyte without a gap, and a border of a block that was
 * crossed. Single reads at random, of any size, prove nothing; neither do reads backwards or with gaps between them,
 * which are rare on disks and not worth a wrong guess. From then on its window doubles with each block that it enters,
 * is never more than what it has read, and is halved when it jumps within what was read ahead.
 */
export class ReadStreams {
  readonly #options: ReadStreamsOptions;
  readonly #streams: ReadStream[] = [];
  #last: ReadStream | undefined;
  #tick = 0;

  constructor(options: ReadStreamsOptions) {
    this.#options = options;
  }

  /** Streams that are remembered, proven or not. */
  get streamCount(): number {
    return this.#streams.length;
  }

  /**
   * Takes note of a read.
   *
   * @param isHit all of it was in memory (default: no). Such a read continues what is remembered, but begins nothing: as long as there is
   *   nothing to fetch there is nothing to fetch ahead.
   * @returns the proven stream when the read has moved it on into another block, so that its window has moved as well.
   */
  note(offset: number, lengthBytes: number, isHit = false): ReadStream | undefined {
    const endOffset = offset + lengthBytes;
    this.#tick += 1;
    const last = this.#last;
    // Most reads of a stream stay within what it has, or continue the one before.
    if (last !== undefined && offset >= last.startOffset && endOffset <= last.endOffset) {
      last.usedTick = this.#tick;
      return undefined;
    }
    const found = this.#find(offset, endOffset);
    if (found === undefined) {
      if (!isHit) this.#add(new ReadStream(offset, endOffset));
      return undefined;
    }
    found.usedTick = this.#tick;
    this.#last = found;
    return this.#extend(found, offset, endOffset);
  }

  /** Forgets a stream, as after an error. */
  forget(stream: ReadStream): void {
    const position = this.#streams.indexOf(stream);
    if (position >= 0) this.#drop(position);
  }

  /** The stream that a read belongs to: the longest that it touches, else one that was read ahead to there. */
  #find(offset: number, endOffset: number): ReadStream | undefined {
    let touched: ReadStream | undefined;
    let jumped: ReadStream | undefined;
    for (const stream of this.#streams) {
      if (endOffset < stream.startOffset) continue;
      if (offset > stream.endOffset) {
        if (stream.aheadBlocks.has(Math.floor(offset / BLOCK_BYTES))) jumped = stream;
      } else if (touched === undefined || stream.runBytes > touched.runBytes) touched = stream;
    }
    return touched ?? jumped;
  }

  #extend(stream: ReadStream, offset: number, endOffset: number): ReadStream | undefined {
    const endBefore = stream.endOffset;
    if (offset > endBefore) {
      stream.windowBlocks = Math.floor(stream.windowBlocks / 2);
      stream.runBytes += endOffset - offset;
      stream.endOffset = endOffset;
    } else {
      stream.runBytes += Math.max(0, endOffset - endBefore) + Math.max(0, stream.startOffset - offset);
      stream.startOffset = Math.min(stream.startOffset, offset);
      stream.endOffset = Math.max(endBefore, endOffset);
    }
    const wasProven = stream.windowBlocks > 0;
    this.#absorbNeighbours(stream);
    stream.startOffset = Math.max(stream.startOffset, stream.endOffset - TAIL_BYTES);
    if (stream.endOffset === endBefore) return undefined;
    stream.joinCount += 1;
    if (!stream.isProven) return undefined;
    const entered = lastBlockOf(stream.endOffset) - lastBlockOf(endBefore);
    if (wasProven && entered === 0) return undefined;
    for (const blockIndex of stream.aheadBlocks) {
      if (blockIndex <= lastBlockOf(stream.endOffset)) stream.aheadBlocks.delete(blockIndex);
    }
    this.#grow(stream, entered);
    if (!wasProven) this.#makeRoom((other) => other.windowBlocks > 0, PROVEN_MAX);
    return stream.windowBlocks > 0 ? stream : undefined;
  }

  #grow(stream: ReadStream, enteredBlocks: number): void {
    const doubled = Math.max(1, stream.windowBlocks * 2, stream.windowBlocks + enteredBlocks);
    const readBlocks = Math.floor(stream.runBytes / BLOCK_BYTES);
    stream.windowBlocks = Math.min(doubled, readBlocks, this.#options.windowBlocksMax);
  }

  /** Ranges that the stream has reached become part of it. */
  #absorbNeighbours(stream: ReadStream): void {
    for (let position = this.#streams.length - 1; position >= 0; position -= 1) {
      const other = this.#streams[position];
      if (other === undefined || other === stream) continue;
      if (other.startOffset > stream.endOffset || other.endOffset < stream.startOffset) continue;
      stream.runBytes +=
        Math.max(0, other.endOffset - stream.endOffset) + Math.max(0, stream.startOffset - other.startOffset);
      stream.startOffset = Math.min(stream.startOffset, other.startOffset);
      stream.endOffset = Math.max(stream.endOffset, other.endOffset);
      this.#drop(position);
    }
  }

  #add(stream: ReadStream): void {
    this.#makeRoom((other) => other.windowBlocks === 0, CANDIDATES_MAX - 1);
    stream.usedTick = this.#tick;
    this.#streams.push(stream);
    this.#last = stream;
  }

  /** Drops the least recently used of the streams that are meant when there are more of them than `countMax`. */
  #makeRoom(isMeant: (stream: ReadStream) => boolean, countMax: number): void {
    let count = 0;
    let oldestPosition = 0;
    let oldestTick = Number.POSITIVE_INFINITY;
    for (const [position, stream] of this.#streams.entries()) {
      if (!isMeant(stream)) continue;
      count += 1;
      if (stream.usedTick < oldestTick) {
        oldestTick = stream.usedTick;
        oldestPosition = position;
      }
    }
    if (count > countMax) this.#drop(oldestPosition);
  }

  #drop(position: number): void {
    const [dropped] = this.#streams.splice(position, 1);
    if (dropped === undefined) return;
    if (dropped === this.#last) this.#last = undefined;
    if (dropped.windowBlocks > 0) this.#options.onForgotten?.(dropped);
  }
}

/** The block of the last byte before an offset. */
function lastBlockOf(endOffset: number): number {
  return Math.ceil(endOffset / BLOCK_BYTES) - 1;
}
