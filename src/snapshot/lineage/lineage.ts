import type { ApiPrices } from '../../ebs/cost.js';
import type { SnapshotApi } from '../../ebs/snapshot-api.js';
import { BLOCKS_PER_GIB } from '../../ebs/constants.js';
import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { MIB } from '../../util/units.js';
import type { BlockCache } from '../block-cache.js';
import type { BlockRelatives } from '../block-fetcher.js';
import type { DiskStore } from '../disk/disk-cache.js';
import { TokenMemory } from '../token-memory.js';
import { ComparisonOdds } from './comparison-odds.js';
import { LineageGroups } from './lineage-groups.js';
import { LineageMember, type BlockSource } from './lineage-member.js';
import { PairChanges } from './pair-changes.js';
import { Answer, Relations } from './relations.js';
import { RelativeSearch } from './relative-search.js';

/** List calls that one question about two snapshots may take. */
const QUESTION_CALLS_MAX = 4;

/** Snapshots that are not open, and are remembered for what the caches have of them. */
const CLOSED_MAX = 512;

/** Holds the changes of a hundred volumes of a TiB with scattered changes in a part in fifty of each. */
const CHANGES_BYTES_MAX = 32 * MIB;

export interface LineageOptions {
  /** Retrying. */
  readonly api: SnapshotApi;
  /** The one that the devices use. */
  readonly cache: BlockCache;
  /** Default: none. */
  readonly disk?: DiskStore | undefined;
  /** Default: the published ones. */
  readonly prices?: Partial<ApiPrices> | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The snapshots of a process, and those that its disk cache has blocks of. A block that did not change between two of them
 * is fetched once, in whichever it is read first. That it did not change is never a guess: ListChangedBlocks has said so
 * of the two, or of each step from one to the other. It is asked when somebody wants a block that a relative has, and
 * when that costs less than fetching.
 */
export class Lineage {
  readonly #options: LineageOptions;
  readonly #groups = new LineageGroups();
  readonly #relations: Relations;
  readonly #members = new Map<string, LineageMember>();
  readonly #closing = new AbortController();
  readonly #reserved = new Map<string, number>();
  /** Positions, and the order in which blocks of snapshots were first kept. */
  #order = 0;

  constructor(options: LineageOptions) {
    this.#options = options;
    const { api, clock, logger } = options;
    const memory = new TokenMemory(CHANGES_BYTES_MAX);
    this.#relations = new Relations({
      changesOf: (first, second) => {
        const pair = { firstSnapshotId: first.snapshotId, secondSnapshotId: second.snapshotId };
        return new PairChanges(api, pair, second.blockCount / BLOCKS_PER_GIB, memory);
      },
      clock,
      logger,
      signal: this.#closing.signal,
    });
    this.#recall();
  }

  /** Snapshots that are going to join, in the order of time as far as that is known. */
  reserve(snapshotIds: readonly string[]): void {
    for (const snapshotId of snapshotIds) {
      if (!this.#members.has(snapshotId) && !this.#reserved.has(snapshotId))
        this.#reserved.set(snapshotId, (this.#order += 1));
    }
  }

  /** A device takes part. */
  join(snapshotId: string, volumeSizeGib: number, source: BlockSource): LineageSeat {
    const known = this.#members.get(snapshotId);
    // An emulator that was set up anew may have another snapshot of the same name.
    if (known !== undefined && known.blockCount !== volumeSizeGib * BLOCKS_PER_GIB) this.#remove(known);
    const member = this.#members.get(snapshotId) ?? this.#add(snapshotId, volumeSizeGib, undefined);
    member.sources.add(source);
    const odds = new ComparisonOdds(this.#options.prices);
    const context = {
      groups: this.#groups,
      relations: this.#relations,
      related: (a: LineageMember, b: LineageMember) => this.#related(a, b),
      isOpen: () => !this.#closing.signal.aborted,
    };
    return {
      find: (request) => new RelativeSearch(context, odds, member, source, request).run(),
      kept: (blockIndex) => this.#kept(member, blockIndex),
      leave: () => this.#leave(member, source),
    };
  }

  /**
   * Whether a block is the same in a snapshot that has joined and in another one, asking the service when it has to.
   *
   * @returns undefined when that cannot be told.
   */
  async isSame(
    snapshotId: string,
    { snapshotId: otherId, volumeSizeGib }: { readonly snapshotId: string; readonly volumeSizeGib: number },
    blockIndex: number,
  ): Promise<boolean | undefined> {
    const a = this.#members.get(snapshotId);
    if (a === undefined) return undefined;
    const b = this.#members.get(otherId) ?? this.#add(otherId, volumeSizeGib, undefined);
    if (b.blockCount <= blockIndex || a.blockCount <= blockIndex) return undefined;
    if (this.#relations.sameAs(a, blockIndex).has(b)) return true;
    const pair = this.#relations.pairOf(a, b);
    if (pair.changes.isChanged(blockIndex) === undefined) {
      if (!this.#relations.isUsable(pair)) return undefined;
      const answer = await this.#relations.learn(a, b, blockIndex, QUESTION_CALLS_MAX);
      if (answer === Answer.Unrelated) this.#groups.separate(a, b);
      if (answer === Answer.Related) this.#related(a, b);
    }
    const isChanged = pair.changes.isChanged(blockIndex);
    return isChanged === undefined ? undefined : !isChanged;
  }

  /** Ends what is under way; from then on nothing is found. */
  close(): void {
    this.#closing.abort(new Error('the lineage was closed'));
  }

  /** Snapshots of which the disk cache has blocks, in the order in which they came there. */
  #recall(): void {
    const { disk } = this.#options;
    const byGroup = new Map<string, LineageMember>();
    const entries = disk?.cache.catalog.entriesOf(disk.service) ?? [];
    for (const { snapshotId, volumeSizeGib, group, sinceMs } of entries) {
      const member = this.#add(snapshotId, volumeSizeGib, sinceMs);
      const relative = byGroup.get(group);
      if (relative === undefined) byGroup.set(group, member);
      else this.#groups.relate(relative, member);
    }
  }

  #add(snapshotId: string, volumeSizeGib: number, sinceMs: number | undefined): LineageMember {
    const { cache, disk } = this.#options;
    const blockCount = volumeSizeGib * BLOCKS_PER_GIB;
    const blocks = disk?.cache.of({ service: disk.service, snapshotId, volumeSizeGib });
    const position = this.#reserved.get(snapshotId) ?? (this.#order += 1);
    this.#reserved.delete(snapshotId);
    const facts = { snapshotId, blockCount, position, sinceMs };
    const member = new LineageMember(facts, cache.of(snapshotId), blocks);
    this.#members.set(snapshotId, member);
    this.#groups.add(member);
    return member;
  }

  #kept(member: LineageMember, blockIndex: number): void {
    member.hold(blockIndex);
    if (member.heldSince !== Number.POSITIVE_INFINITY) return;
    member.heldSince = this.#order += 1;
    member.sinceMs = this.#options.clock.dateMs();
    this.#record(member);
  }

  #related(a: LineageMember, b: LineageMember): void {
    if (!this.#groups.relate(a, b)) return;
    for (const member of this.#groups.relativesOf(a)) this.#record(member);
  }

  /** Tells the next process. */
  #record(member: LineageMember): void {
    const { disk } = this.#options;
    if (disk === undefined || member.heldSince === Number.POSITIVE_INFINITY) return;
    const [first = member] = this.#groups.relativesOf(member);
    disk.cache.catalog.record({
      service: disk.service,
      snapshotId: member.snapshotId,
      volumeSizeGib: member.blockCount / BLOCKS_PER_GIB,
      group: first.snapshotId,
      sinceMs: member.sinceMs,
    });
  }

  #leave(member: LineageMember, source: BlockSource): void {
    member.sources.delete(source);
    for (const surplus of [...this.#groups.surplus(CLOSED_MAX)]) this.#remove(surplus);
  }

  #remove(member: LineageMember): void {
    this.#members.delete(member.snapshotId);
    this.#relations.remove(member);
    this.#groups.remove(member);
  }
}

/** The place of one device in a {@link Lineage}. */
export interface LineageSeat extends BlockRelatives {
  /** The device is closed. What is kept of its snapshot goes on to serve others. */
  leave(): void;
}
