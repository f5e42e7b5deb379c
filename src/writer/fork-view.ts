import {
  AllocationFlag,
  ReadIntoResult,
  type BlockDevice,
  type Extent,
  type ExtentOptions,
  type ReadChunk,
  type ReadResult,
  type ReadOptions,
  type RequestOptions,
} from '../device/block-device.js';
import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { ExtentListBuilder, HOLE_FLAGS } from '../device/extent-list.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { messageOf } from '../util/errors.js';
import type { DataFiles } from './data-files.js';
import type { Layer } from './layer.js';
import { SECTOR_BYTES, SectorState } from './sector-state.js';

/** A layer and where its bytes are. */
export interface ViewedLayer {
  readonly layer: Layer;
  readonly data: DataFiles;
}

/** Bytes of the disk that come from one place: a layer's data file, nowhere, or the base. */
interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly from: DataFiles | 'zeros' | 'base';
}

/** What may be said of bytes of a fork, as {@link ForkView.stagedExtents} has it; 0 where the base shows through. */
export const StagedFlag = {
  /** Written, trimmed or zeroed. */
  Staged: 1,
  /** They read as zeros. Only with Staged. */
  Zeros: 2,
} as const;

/** Pieces of one read that are fetched at the same time. */
const FETCHES_AT_ONCE_MAX = 8;

/**
 * The layers of a fork over its base, as they are until a commit changes what there is. Who reads holds on to it, so that
 * nothing is taken away under a read.
 */
export class ForkView {
  readonly #layers: readonly ViewedLayer[];
  readonly base: BlockDevice;
  #userCount = 0;
  #onIdle: (() => void) | undefined;

  /** @param layers the newest first. */
  constructor(layers: readonly ViewedLayer[], base: BlockDevice) {
    this.#layers = layers;
    this.base = base;
  }

  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult> {
    const pieces = this.#piecesOf(offset, lengthBytes);
    const [first] = pieces;
    if (pieces.length === 1 && first !== undefined) {
      if (first.from === 'zeros') return [{ zeroBytes: lengthBytes }];
      if (first.from === 'base') {
        const result = this.base.read(offset, lengthBytes, options);
        return result instanceof Promise ? this.#hold(result) : result;
      }
    }
    return this.#hold(fetchAll(pieces, this.base, options));
  }

  /**
   * Reads a whole block of the API into `room`, which has its length.
   *
   * @returns false where it is zeros as a whole, and known to be: `room` is left alone then.
   */
  async readBlock(block: number, room: Buffer): Promise<boolean> {
    const start = block * BLOCK_BYTES;
    const pieces = this.#piecesOf(start, BLOCK_BYTES);
    if (pieces.every(({ from }) => from === 'zeros')) return false;
    await this.#hold(this.#readPieces(pieces, start, room));
    return true;
  }

  /** See {@link BlockDevice.readInto}. */
  readInto(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult {
    const from = this.#placeOf(offset, offset + lengthBytes);
    if (from.end < offset + lengthBytes) return ReadIntoResult.NotAtHand;
    if (from.place === 'zeros') return ReadIntoResult.Zeros;
    if (from.place !== 'base') return ReadIntoResult.NotAtHand;
    return this.base.readInto?.(offset, lengthBytes, target, targetStart) ?? ReadIntoResult.NotAtHand;
  }

  async cache(offset: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    for (const piece of this.#piecesOf(offset, lengthBytes)) {
      if (piece.from === 'base')
        await this.#hold(this.base.cache?.(piece.offset, piece.lengthBytes, options));
    }
  }

  async extents(offset: number, lengthBytes: number, options: ExtentOptions): Promise<readonly Extent[]> {
    const list = new ExtentListBuilder(options.extentsMax);
    const end = offset + lengthBytes;
    let at = offset;
    while (at < end) {
      const found = this.#placeOf(at, end);
      if (found.place === 'base') {
        const described = await this.#hold(this.#addBaseExtents(list, at, found.end, options));
        if (described < found.end) break;
      } else if (!list.add(found.end - at, found.place === 'zeros' ? HOLE_FLAGS : 0)) {
        break;
      }
      at = found.end;
    }
    return list.build();
  }

  /** What the layers have, in the flags of {@link StagedFlag}. */
  stagedExtents(offset: number, lengthBytes: number, extentsMax: number): readonly Extent[] {
    const list = new ExtentListBuilder(extentsMax);
    const end = offset + lengthBytes;
    for (let at = offset; at < end;) {
      const found = this.#placeOf(at, end);
      if (!list.add(found.end - at, stagedFlagsOf(found.place))) break;
      at = found.end;
    }
    return list.build();
  }

  /** Resolves when no read uses it any more. Nobody may begin one. */
  async retire(): Promise<void> {
    if (this.#userCount === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Returns where the description ends. */
  async #addBaseExtents(
    list: ExtentListBuilder,
    start: number,
    end: number,
    options: ExtentOptions,
  ): Promise<number> {
    if (this.base.extents === undefined) return list.add(end - start, 0) ? end : start;
    let at = start;
    for (const extent of await this.base.extents(start, end - start, options)) {
      if (!list.add(extent.lengthBytes, extent.flags)) return at;
      at += extent.lengthBytes;
    }
    return at;
  }

  /** Where the byte at `offset` comes from, and how far that goes, at most to `end`. */
  #placeOf(offset: number, end: number): { readonly place: Piece['from']; readonly end: number } {
    const sector = Math.floor(offset / SECTOR_BYTES);
    let limit = Math.ceil(end / SECTOR_BYTES);
    for (const { layer, data } of this.#layers) {
      const run = layer.map.runAt(sector, limit);
      limit = run.end;
      if (run.state !== SectorState.Through) {
        return {
          place: run.state === SectorState.Data ? data : 'zeros',
          end: Math.min(end, limit * SECTOR_BYTES),
        };
      }
    }
    return { place: 'base', end: Math.min(end, limit * SECTOR_BYTES) };
  }

  #piecesOf(offset: number, lengthBytes: number): readonly Piece[] {
    const pieces: Piece[] = [];
    const end = offset + lengthBytes;
    for (let at = offset; at < end;) {
      const found = this.#placeOf(at, end);
      pieces.push({ offset: at, lengthBytes: found.end - at, from: found.place });
      at = found.end;
    }
    return pieces;
  }

  async #readPieces(pieces: readonly Piece[], start: number, room: Buffer): Promise<void> {
    for (const { offset, lengthBytes, from } of pieces) {
      const part = room.subarray(offset - start, offset - start + lengthBytes);
      if (from === 'zeros') part.fill(0);
      else if (from === 'base') copyChunks(await this.base.read(offset, lengthBytes), part);
      else await readStaged(from, offset, part);
    }
  }

  async #hold<T>(result: T | Promise<T>): Promise<T> {
    this.#userCount += 1;
    try {
      return await result;
    } finally {
      this.#userCount -= 1;
      if (this.#userCount === 0) this.#onIdle?.();
    }
  }
}

function stagedFlagsOf(place: Piece['from']): number {
  if (place === 'base') return 0;
  return place === 'zeros' ? StagedFlag.Staged | StagedFlag.Zeros : StagedFlag.Staged;
}

/** True when an extent is one that reads as zeros. */
export function isZeroExtent(extent: Extent): boolean {
  return (extent.flags & AllocationFlag.Zero) !== 0;
}

/** Puts the chunks of a read into `target`, which has their length. */
export function copyChunks(chunks: ReadResult, target: Buffer): void {
  let at = 0;
  for (const chunk of chunks) {
    if ('zeroBytes' in chunk) {
      target.fill(0, at, at + chunk.zeroBytes);
      at += chunk.zeroBytes;
    } else {
      target.set(chunk, at);
      at += chunk.length;
    }
  }
}

async function fetchAll(
  pieces: readonly Piece[],
  base: BlockDevice,
  options: ReadOptions | undefined,
): Promise<ReadResult> {
  const chunks: ReadChunk[] = [];
  for (let start = 0; start < pieces.length; start += FETCHES_AT_ONCE_MAX) {
    const batch = pieces.slice(start, start + FETCHES_AT_ONCE_MAX);
    const results = await Promise.all(batch.map((piece) => fetch(piece, base, options)));
    for (const result of results) chunks.push(...result);
  }
  return chunks;
}

async function fetch(
  { from, offset, lengthBytes }: Piece,
  base: BlockDevice,
  options: ReadOptions | undefined,
): Promise<ReadResult> {
  if (from === 'zeros') return [{ zeroBytes: lengthBytes }];
  if (from === 'base') return base.read(offset, lengthBytes, options);
  const bytes = Buffer.allocUnsafeSlow(lengthBytes);
  await readStaged(from, offset, bytes);
  return [bytes];
}

async function readStaged(files: DataFiles, offset: number, target: Buffer): Promise<void> {
  try {
    await files.read(offset, target);
  } catch (error) {
    throw new DeviceError(DeviceErrno.EIO, `Cannot read staged data: ${messageOf(error)}.`, { cause: error });
  }
}
