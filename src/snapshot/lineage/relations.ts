import { EbsError, EbsErrorKind } from '../../ebs/errors.js';
import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { messageOf } from '../../util/errors.js';
import type { LineageMember } from './lineage-member.js';
import type { PairChanges } from './pair-changes.js';

/** Two snapshots that are compared. */
export interface Pair {
  readonly changes: PairChanges;
  /** Blocks that were fetched because asking about them would have cost more. */
  owedBlocks: number;
  /** List calls that have told nothing of the blocks that they were made for, since the last one that has. */
  vainCalls: number;
  /** Nothing is asked before. */
  failedUntilMs: number;
  learning: Promise<void> | undefined;
}

/** A pair that could not be compared is left alone for so long. */
const FAILED_MS = 300_000;

/** A comparison that takes longer, as under throttling, gains nothing on fetching the block. */
const LEARN_MS_MAX = 5000;

export interface RelationsOptions {
  readonly changesOf: (first: LineageMember, second: LineageMember) => PairChanges;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** What came of asking the service about a pair. */
export const Answer = { Related: 'related', Unrelated: 'unrelated', Failed: 'failed' } as const;
export type Answer = (typeof Answer)[keyof typeof Answer];

/** Which blocks of which snapshots are the same, as ListChangedBlocks has said: between two of them, or along a chain. */
export class Relations {
  readonly #options: RelationsOptions;
  readonly #pairs = new Map<LineageMember, Map<LineageMember, Pair>>();
  /** Kinds of failures that were told. */
  readonly #told = new Set<string>();

  constructor(options: RelationsOptions) {
    this.#options = options;
  }

  /** Snapshots whose block of that index is known to be the same as that of `member`, itself included. */
  sameAs(member: LineageMember, blockIndex: number): Set<LineageMember> {
    const same = new Set([member]);
    for (const reached of same) {
      for (const [other, { changes }] of this.#pairs.get(reached) ?? []) {
        if (!same.has(other) && changes.isChanged(blockIndex) === false) same.add(other);
      }
    }
    return same;
  }

  /** Snapshots whose block of that index is known to differ from that of those that are the same among them. */
  differingFrom(same: ReadonlySet<LineageMember>, blockIndex: number): Set<LineageMember> {
    const differing = new Set<LineageMember>();
    for (const member of same) {
      for (const [other, { changes }] of this.#pairs.get(member) ?? []) {
        if (differing.has(other) || changes.isChanged(blockIndex) !== true) continue;
        for (const equal of this.sameAs(other, blockIndex)) differing.add(equal);
      }
    }
    return differing;
  }

  /** The pair, if it has been thought of. */
  find(a: LineageMember, b: LineageMember): Pair | undefined {
    return this.#pairs.get(a)?.get(b);
  }

  /** The pair, which from now on is thought of. */
  pairOf(a: LineageMember, b: LineageMember): Pair {
    const known = this.find(a, b);
    if (known !== undefined) return known;
    const [first, second] = a.position < b.position ? [a, b] : [b, a];
    const changes = this.#options.changesOf(first, second);
    const pair: Pair = {
      changes,
      owedBlocks: 0,
      vainCalls: 0,
      failedUntilMs: Number.NEGATIVE_INFINITY,
      learning: undefined,
    };
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const pairs = this.#pairs.get(from) ?? new Map<LineageMember, Pair>();
      this.#pairs.set(from, pairs.set(to, pair));
    }
    return pair;
  }

  /** Whether the pair may be asked about. */
  isUsable(pair: Pair | undefined): boolean {
    return pair === undefined || pair.failedUntilMs <= this.#options.clock.nowMs();
  }

  /** Asks the service how a block compares between two snapshots. Never rejects. */
  async learn(a: LineageMember, b: LineageMember, blockIndex: number, callsMax: number): Promise<Answer> {
    const pair = this.pairOf(a, b);
    try {
      // [single flight] Another block's answer may have this one in it.
      while (pair.learning !== undefined) await pair.learning;
      if (pair.changes.isChanged(blockIndex) !== undefined) return Answer.Related;
      const callsBefore = pair.changes.callCount;
      pair.learning = this.#ask(pair.changes, blockIndex, callsMax).finally(() => {
        pair.learning = undefined;
        const isVain = pair.changes.isChanged(blockIndex) === undefined;
        pair.vainCalls = isVain ? pair.vainCalls + pair.changes.callCount - callsBefore : 0;
      });
      await pair.learning;
      return Answer.Related;
    } catch (error) {
      return this.#failed(pair, error, a, b);
    }
  }

  /** Forgets a snapshot. */
  remove(member: LineageMember): void {
    for (const [other, { changes }] of this.#pairs.get(member) ?? []) {
      const theirs = this.#pairs.get(other);
      theirs?.delete(member);
      // It may have been thought of once more after it had been forgotten itself.
      if (theirs?.size === 0) this.#pairs.delete(other);
      changes.close();
    }
    this.#pairs.delete(member);
  }

  async #ask(changes: PairChanges, blockIndex: number, callsMax: number): Promise<void> {
    const { clock, signal } = this.#options;
    const late = new AbortController();
    const timer = clock.setTimer(LEARN_MS_MAX, () => late.abort(new Error('the comparison takes too long')));
    try {
      await changes.learn(blockIndex, callsMax, AbortSignal.any([signal, late.signal]));
    } finally {
      timer.cancel();
    }
  }

  #failed(pair: Pair, error: unknown, a: LineageMember, b: LineageMember): Answer {
    const isUnrelated = error instanceof EbsError && error.kind === EbsErrorKind.UnrelatedSnapshots;
    // That they are not related does not change.
    pair.failedUntilMs = isUnrelated ? Number.POSITIVE_INFINITY : this.#options.clock.nowMs() + FAILED_MS;
    const kind = error instanceof EbsError ? error.kind : 'other';
    if (!isUnrelated && !this.#options.signal.aborted && !this.#told.has(kind)) {
      this.#told.add(kind);
      this.#options.logger.warn('cannot compare two snapshots: blocks that they share are fetched for each', {
        first: a.snapshotId,
        second: b.snapshotId,
        reason: messageOf(error),
      });
    }
    return isUnrelated ? Answer.Unrelated : Answer.Failed;
  }
}
