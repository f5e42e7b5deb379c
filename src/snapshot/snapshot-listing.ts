import { BLOCK_BYTES, BLOCKS_PER_GIB, LIST_RESULTS_MAX } from '../ebs/constants.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { onAbort } from '../util/abort-callbacks.js';
import { PageLister, snapshotBlocksOf, type ListedRange } from './page-lister.js';

/** What a whole snapshot holds. */
export interface SnapshotSummary {
  readonly volumeSizeGib: number;
  /** Blocks that were written at some time; all others read as zeros. */
  readonly listedBlocks: number;
  readonly listedBytes: number;
  /** When the first block token stops working, in milliseconds since 1970; undefined without tokens or expiry. */
  readonly earliestExpiryMs: number | undefined;
}

/** How far a listing has come. */
export interface ListingProgress {
  readonly listedBlockCount: number;
  /** From 0 to 1: the part of the volume that has been looked at. */
  readonly scannedFraction: number;
}

export interface SummaryOptions {
  /** Retrying. */
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  /** Called after each list call. */
  readonly onProgress?: (progress: ListingProgress) => void;
  readonly signal?: AbortSignal;
}

/** As many as keep the 50 list calls a second busy that an account has, at some 100 ms each. */
const LISTS_AT_ONCE = 6;

/** A part of the volume is not divided when less than this many blocks of it are left: four pages. */
const DIVIDED_BLOCKS_MIN = 4 * LIST_RESULTS_MAX;

/**
 * Lists a whole snapshot and counts, several pages at a time: memory does not depend on its size. A full volume takes
 * one call for each 5 GiB.
 *
 * @throws {EbsError} when it cannot be listed; the signal's reason when it aborts.
 */
export async function summarizeSnapshot(options: SummaryOptions): Promise<SnapshotSummary> {
  const { api, snapshotId, signal } = options;
  signal?.throwIfAborted();
  const stop = new AbortController();
  const leave = onAbort(signal, () => stop.abort(signal?.reason));
  try {
    const listing = new WholeListing(new PageLister(snapshotBlocksOf(api, snapshotId)), options, stop.signal);
    await listing.begin();
    const workers = Array.from({ length: LISTS_AT_ONCE }, () => listing.work());
    await Promise.all(workers).finally(() => stop.abort());
    return listing.summary();
  } finally {
    leave();
  }
}

/** A part of the volume that one worker lists, from its beginning on. */
interface Part {
  nextIndex: number;
  /** One past its last block. May come nearer while a page is under way. */
  endIndex: number;
}

class WholeListing {
  readonly #lister: PageLister;
  readonly #options: SummaryOptions;
  readonly #signal: AbortSignal;
  readonly #parts = new Set<Part>();
  #untaken: Part | undefined;
  #volumeSizeGib = 0;
  #listedBlocks = 0;
  #earliestExpiryMs: number | undefined;

  constructor(lister: PageLister, options: SummaryOptions, signal: AbortSignal) {
    this.#lister = lister;
    this.#options = options;
    this.#signal = signal;
  }

  /** The first page, which gives the size of the volume and is often all there is. */
  async begin(): Promise<void> {
    const whole: Part = { nextIndex: 0, endIndex: Number.POSITIVE_INFINITY };
    const range = await this.#lister.list(0, LIST_RESULTS_MAX, { signal: this.#signal });
    this.#volumeSizeGib = this.#lister.volumeSizeGib ?? 0;
    whole.endIndex = this.#volumeSizeGib * BLOCKS_PER_GIB;
    this.#parts.add(whole);
    this.#untaken = whole;
    this.#count(whole, range);
  }

  /** Lists parts until none is left. Any number of workers may do so at the same time. */
  async work(): Promise<void> {
    for (let part = this.#takePart(); part !== undefined; part = this.#takePart()) {
      while (part.nextIndex < part.endIndex) {
        const range = await this.#lister.list(part.nextIndex, LIST_RESULTS_MAX, { signal: this.#signal });
        this.#count(part, range);
      }
      this.#parts.delete(part);
    }
  }

  summary(): SnapshotSummary {
    const listedBlocks = this.#listedBlocks;
    return {
      volumeSizeGib: this.#volumeSizeGib,
      listedBlocks,
      listedBytes: listedBlocks * BLOCK_BYTES,
      earliestExpiryMs: this.#earliestExpiryMs,
    };
  }

  // What the first page left, or the second half of the longest part that somebody is at.
  #takePart(): Part | undefined {
    const untaken = this.#untaken;
    this.#untaken = undefined;
    if (untaken !== undefined) return untaken;
    let longest: Part | undefined;
    for (const part of this.#parts) {
      if (longest === undefined || leftOf(part) > leftOf(longest)) longest = part;
    }
    if (longest === undefined || leftOf(longest) < DIVIDED_BLOCKS_MIN) return undefined;
    const middleIndex = longest.nextIndex + Math.ceil(leftOf(longest) / 2);
    const part = { nextIndex: middleIndex, endIndex: longest.endIndex };
    longest.endIndex = middleIndex;
    this.#parts.add(part);
    return part;
  }

  #count(part: Part, range: ListedRange): void {
    const counted = range.blocks.filter(({ blockIndex }) => blockIndex < part.endIndex).length;
    this.#listedBlocks += counted;
    if (counted > 0 && Number.isFinite(range.expiryMs)) {
      this.#earliestExpiryMs = Math.min(this.#earliestExpiryMs ?? range.expiryMs, range.expiryMs);
    }
    part.nextIndex = Math.min(range.endIndex, part.endIndex);
    let leftBlocks = 0;
    for (const other of this.#parts) leftBlocks += leftOf(other);
    const scannedFraction = 1 - leftBlocks / (this.#volumeSizeGib * BLOCKS_PER_GIB);
    this.#options.onProgress?.({ listedBlockCount: this.#listedBlocks, scannedFraction });
  }
}

function leftOf(part: Part): number {
  return part.endIndex - part.nextIndex;
}
