import type { LineageMember } from './lineage-member.js';

/** Snapshots of other volumes that are looked at for one block. */
const STRANGERS_MAX = 32;

/** After so many other lineages were refused, no more are tried: each try is a call. */
const REFUSALS_MAX = 8;

/** Snapshots that are known to be of one lineage. */
interface Group {
  readonly members: Set<LineageMember>;
  /** Groups that the service has said to be of another lineage. */
  readonly unrelated: Set<Group>;
  refusalCount: number;
}

/** Which snapshots are of one lineage, and which are not, as far as the service has said so. */
export class LineageGroups {
  readonly #groups = new Map<LineageMember, Group>();
  /** By their position. */
  readonly #ordered: LineageMember[] = [];

  /** Adds a snapshot as one of which nothing is known. Positions are unique. */
  add(member: LineageMember): void {
    this.#groups.set(member, { members: new Set([member]), unrelated: new Set(), refusalCount: 0 });
    this.#ordered.splice(this.#indexOf(member), 0, member);
  }

  remove(member: LineageMember): void {
    const group = this.#groupOf(member);
    group.members.delete(member);
    if (group.members.size === 0) for (const other of group.unrelated) other.unrelated.delete(group);
    this.#groups.delete(member);
    this.#ordered.splice(this.#ordered.indexOf(member), 1);
  }

  /** Snapshots of its lineage, itself included. */
  relativesOf(member: LineageMember): ReadonlySet<LineageMember> {
    return this.#groupOf(member).members;
  }

  /** Snapshots that may be of its lineage or not, the nearest first. */
  strangersOf(member: LineageMember): readonly LineageMember[] {
    const group = this.#groupOf(member);
    if (group.refusalCount >= REFUSALS_MAX) return [];
    const found: LineageMember[] = [];
    const at = this.#indexOf(member);
    for (let distance = 1; distance < this.#ordered.length && found.length < STRANGERS_MAX; distance += 1) {
      for (const other of [this.#ordered[at - distance], this.#ordered[at + distance]]) {
        if (other === undefined) continue;
        const theirs = this.#groupOf(other);
        if (theirs !== group && !group.unrelated.has(theirs)) found.push(other);
      }
    }
    return found;
  }

  /**
   * They are of one lineage, and so is everything that is related to either. One that was removed while the service was
   * asked is left alone.
   *
   * @returns whether that is news.
   */
  relate(a: LineageMember, b: LineageMember): boolean {
    if (!this.#groups.has(a) || !this.#groups.has(b)) return false;
    const kept = this.#groupOf(a);
    const gone = this.#groupOf(b);
    if (kept === gone) return false;
    for (const member of gone.members) {
      kept.members.add(member);
      this.#groups.set(member, kept);
    }
    for (const other of gone.unrelated) {
      other.unrelated.delete(gone);
      other.unrelated.add(kept);
      kept.unrelated.add(other);
    }
    return true;
  }

  /** They are of different lineages, and so is everything that is related to either; else as {@link relate}. */
  separate(a: LineageMember, b: LineageMember): void {
    if (!this.#groups.has(a) || !this.#groups.has(b)) return;
    const first = this.#groupOf(a);
    const second = this.#groupOf(b);
    if (first === second) return;
    first.unrelated.add(second);
    second.unrelated.add(first);
    first.refusalCount += 1;
  }

  /** Closed snapshots beyond a number, those that joined first. */
  *surplus(closedMax: number): Generator<LineageMember, void> {
    const closed = this.#ordered.filter(({ sources }) => sources.size === 0);
    yield* closed.slice(0, Math.max(0, closed.length - closedMax));
  }

  #groupOf(member: LineageMember): Group {
    const group = this.#groups.get(member);
    if (group === undefined) throw new Error(`${member.snapshotId} has not joined`);
    return group;
  }

  #indexOf({ position }: LineageMember): number {
    let low = 0;
    let high = this.#ordered.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ordered[middle]?.position ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
