import { RangeSet } from '../../device/range-set.js';
import type { Lane } from '../../util/limiter.js';
import type { SnapshotCache } from '../block-cache.js';
import type { PendingBlock } from '../block-fetcher.js';
import type { SnapshotDiskCache } from '../disk/disk-cache.js';

/** Ranges of blocks that are remembered of one snapshot; with more it counts as having any. */
const HELD_RANGES_MAX = 4096;

/** Who fetches blocks of a snapshot at present. */
export interface BlockSource {
  /** Whether such a fetch is under way. */
  isUnderWay(blockIndex: number): boolean;
  /** Joins the fetch of a block from the service that is under way or decided on; undefined when there is none. */
  underWay(blockIndex: number, lane: Lane): PendingBlock | undefined;
}

/** What is known of a snapshot when it joins. */
export interface MemberFacts {
  readonly snapshotId: string;
  /** Blocks of the volume. */
  readonly blockCount: number;
  /** Neighbours in it are taken to be neighbours in time. */
  readonly position: number;
  /** When the first of its blocks came into the disk cache, in milliseconds since 1970; undefined: none has. */
  readonly sinceMs: number | undefined;
}

/** A snapshot whose blocks may serve others, whether it is open now or not. */
export class LineageMember {
  readonly snapshotId: string;
  readonly blockCount: number;
  readonly position: number;
  readonly memory: SnapshotCache;
  readonly disk: SnapshotDiskCache | undefined;
  /** Its open devices. */
  readonly sources = new Set<BlockSource>();
  /** The order in which first blocks were kept: whoever was read first has most of what others look for. */
  heldSince = Number.POSITIVE_INFINITY;
  /** The same as a date, in milliseconds since 1970; 0 until a block is kept. */
  sinceMs: number;
  readonly #held = new RangeSet();
  #mayHoldAny: boolean;

  constructor(facts: MemberFacts, memory: SnapshotCache, disk: SnapshotDiskCache | undefined) {
    this.snapshotId = facts.snapshotId;
    this.blockCount = facts.blockCount;
    this.position = facts.position;
    this.memory = memory;
    this.disk = disk;
    this.#mayHoldAny = facts.sinceMs !== undefined;
    this.sinceMs = facts.sinceMs ?? 0;
    if (facts.sinceMs !== undefined) this.heldSince = facts.position;
  }

  /** Takes note of a block that is kept on disk under this snapshot's name. */
  hold(blockIndex: number): void {
    if (this.#mayHoldAny) return;
    this.#held.add(blockIndex, blockIndex + 1);
    this.#mayHoldAny = this.#held.rangeCount > HELD_RANGES_MAX;
  }

  /** Whether the disk cache may have the block under this snapshot's name: never false when it has. */
  mayHold(blockIndex: number): boolean {
    if (this.disk === undefined) return false;
    if (this.#mayHoldAny) return true;
    const range = this.#held.firstFrom(blockIndex);
    return range !== undefined && range.start <= blockIndex;
  }

  /** The fetch of a block by any device but one. */
  underWay(blockIndex: number, lane: Lane, except: BlockSource | undefined): PendingBlock | undefined {
    for (const source of this.sources) {
      if (source === except) continue;
      const pending = source.underWay(blockIndex, lane);
      if (pending !== undefined) return pending;
    }
    return undefined;
  }

  /** Whether a block is in memory or on its way. */
  hasAtHand(blockIndex: number, except: BlockSource | undefined): boolean {
    if (this.memory.has(blockIndex)) return true;
    for (const source of this.sources) {
      if (source !== except && source.isUnderWay(blockIndex)) return true;
    }
    return false;
  }
}
