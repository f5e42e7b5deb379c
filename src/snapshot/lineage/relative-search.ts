import type { BlockRequest } from '../block-fetcher.js';
import type { CachedBlock } from '../block-cache.js';
import type { ComparisonOdds } from './comparison-odds.js';
import type { LineageGroups } from './lineage-groups.js';
import type { BlockSource, LineageMember } from './lineage-member.js';
import { Answer, type Relations } from './relations.js';

/** Each round learns something; more would only mean that everything changes all the time. */
const ROUNDS_MAX = 16;

/** Looks at the disk cache for one block, under as many names. */
const DISK_LOOKS_MAX = 64;

export interface SearchContext {
  readonly groups: LineageGroups;
  readonly relations: Relations;
  /** Called when two snapshots turn out to be of one lineage. */
  readonly related: (a: LineageMember, b: LineageMember) => void;
  /** False when nothing more is to be asked. */
  readonly isOpen: () => boolean;
}

/** The search for one block of one snapshot among its relatives. */
export class RelativeSearch {
  readonly #context: SearchContext;
  readonly #odds: ComparisonOdds;
  readonly #member: LineageMember;
  readonly #source: BlockSource;
  readonly #request: BlockRequest;
  /** Those whose block is not worth a comparison, or cannot be compared. */
  readonly #dismissed = new Set<LineageMember>();
  /** Whose fetch of the block has failed. */
  readonly #failed = new Set<LineageMember>();

  constructor(
    context: SearchContext,
    odds: ComparisonOdds,
    member: LineageMember,
    source: BlockSource,
    request: BlockRequest,
  ) {
    this.#context = context;
    this.#odds = odds;
    this.#member = member;
    this.#source = source;
    this.#request = request;
  }

  /** The block, when a relative proves to have it; else the request was claimed. */
  async run(): Promise<CachedBlock | undefined> {
    const { blockIndex } = this.#request;
    for (let round = 0; round < ROUNDS_MAX && this.#context.isOpen(); round += 1) {
      const same = this.#context.relations.sameAs(this.#member, blockIndex);
      const block = (await this.#atHand(same)) ?? (await this.#onDisk(same));
      if (block !== undefined) return block;
      const target = await this.#chooseTarget(same);
      if (target !== undefined) await this.#compareWith(target);
      else if (!this.#hasNews()) break;
    }
    // Nothing has been waited for since the last look: whoever looks next finds this fetch.
    this.#request.claim();
    return undefined;
  }

  /** From memory, or from a fetch that is under way. */
  async #atHand(same: ReadonlySet<LineageMember>): Promise<CachedBlock | undefined> {
    const { blockIndex } = this.#request;
    for (const member of same) {
      const block = member.memory.get(blockIndex);
      if (block !== undefined) return block;
    }
    for (const member of same) {
      if (this.#failed.has(member)) continue;
      const pending = member.underWay(blockIndex, this.#request.lane(), this.#source);
      if (pending === undefined) continue;
      this.#request.onPromoted(() => {
        member.underWay(blockIndex, this.#request.lane(), this.#source)?.cancel();
      });
      try {
        return await pending.block;
      } catch {
        // Its own readers hear of it. This snapshot's own fetch may do better.
        this.#failed.add(member);
      } finally {
        pending.cancel();
      }
    }
    return undefined;
  }

  async #onDisk(same: ReadonlySet<LineageMember>): Promise<CachedBlock | undefined> {
    const { blockIndex } = this.#request;
    for (const member of this.#holders(same)) {
      const block = await member.disk?.read(blockIndex);
      if (block === undefined) continue;
      if (member.disk !== undefined) void this.#member.disk?.nameLike(blockIndex, member.disk);
      return block;
    }
    return undefined;
  }

  /** Those that may have the block on disk, the likeliest first. */
  #holders(members: Iterable<LineageMember>): readonly LineageMember[] {
    const { blockIndex } = this.#request;
    return [...members]
      .filter((member) => member !== this.#member && member.mayHold(blockIndex))
      .sort((a, b) => a.heldSince - b.heldSince)
      .slice(0, DISK_LOOKS_MAX);
  }

  /** With whom to compare next: somebody who would spare the fetch if the block is the same there. */
  async #chooseTarget(
    same: ReadonlySet<LineageMember>,
  ): Promise<{ readonly target: LineageMember; readonly callsMax: number } | undefined> {
    const { relations, groups } = this.#context;
    const { blockIndex } = this.#request;
    const differing = relations.differingFrom(same, blockIndex);
    const isOpen = (other: LineageMember): boolean =>
      !same.has(other) &&
      !differing.has(other) &&
      !this.#dismissed.has(other) &&
      other.blockCount > blockIndex;
    for (const candidates of [groups.relativesOf(this.#member), groups.strangersOf(this.#member)]) {
      for (;;) {
        const holder = await this.#findHolder([...candidates].filter(isOpen));
        if (holder === undefined) break;
        const equals = relations.sameAs(holder, blockIndex);
        const target = this.#nearest(equals);
        const pair = target === undefined ? undefined : relations.pairOf(this.#member, target);
        if (target !== undefined && pair !== undefined) {
          pair.owedBlocks += 1;
          const callsMax = this.#odds.callsFor(pair, differing.size > 0);
          if (callsMax > 0) return { target, callsMax };
        }
        for (const equal of equals) this.#dismissed.add(equal);
      }
    }
    return undefined;
  }

  async #findHolder(members: readonly LineageMember[]): Promise<LineageMember | undefined> {
    const { blockIndex } = this.#request;
    const atHand = members.find((member) => member.hasAtHand(blockIndex, this.#source));
    if (atHand !== undefined) return atHand;
    for (const member of this.#holders(members)) {
      if ((await member.disk?.has(blockIndex)) === true) return member;
    }
    return undefined;
  }

  /** Those compared with before come first, then those nearest in time, as far as that is known. */
  #nearest(members: Iterable<LineageMember>): LineageMember | undefined {
    const { relations } = this.#context;
    const { blockIndex } = this.#request;
    let best: LineageMember | undefined;
    let bestDistance = Number.POSITIVE_INFINITY;
    for (const member of members) {
      const pair = relations.find(this.#member, member);
      if (member.blockCount <= blockIndex || !relations.isUsable(pair)) continue;
      const distance = pair === undefined ? Math.abs(member.position - this.#member.position) : 0;
      if (distance >= bestDistance) continue;
      best = member;
      bestDistance = distance;
    }
    return best;
  }

  async #compareWith({ target, callsMax }: { target: LineageMember; callsMax: number }): Promise<void> {
    const { relations, groups, related } = this.#context;
    const { blockIndex } = this.#request;
    const pair = relations.pairOf(this.#member, target);
    const same = relations.sameAs(this.#member, blockIndex);
    const isFurther = relations.differingFrom(same, blockIndex).size > 0;
    const answer = await relations.learn(this.#member, target, blockIndex, callsMax);
    if (answer === Answer.Unrelated) groups.separate(this.#member, target);
    if (answer !== Answer.Related) return;
    related(this.#member, target);
    const isChanged = pair.changes.isChanged(blockIndex);
    if (isChanged === undefined) {
      // Not got that far: what was paid counts for the next block, which goes on from there.
      this.#dismissed.add(target);
      return;
    }
    pair.owedBlocks = 0;
    if (isFurther) this.#odds.learnt(!isChanged);
  }

  /** Whether anybody who could have the block has it by now. Looks without waiting. */
  #hasNews(): boolean {
    const { relations, groups } = this.#context;
    const { blockIndex } = this.#request;
    const same = relations.sameAs(this.#member, blockIndex);
    const differing = relations.differingFrom(same, blockIndex);
    const others = [...groups.relativesOf(this.#member), ...groups.strangersOf(this.#member)];
    return [...same, ...others].some(
      (other) =>
        !differing.has(other) &&
        !this.#dismissed.has(other) &&
        !this.#failed.has(other) &&
        other.blockCount > blockIndex &&
        other.hasAtHand(blockIndex, this.#source),
    );
  }
}
