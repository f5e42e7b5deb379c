import { PUBLISHED_PRICES, type ApiPrices } from '../../ebs/cost.js';

/** List calls for one question at most, whatever they cost. */
const CALLS_MAX = 64;

/** A comparison with a first relative finds the block unchanged most of the time: few are written between two snapshots. */
const FIRST_CHANCE = 0.9;

/** How sure the beginning is that a further relative, after one that differs, has the block. */
const PRIOR_TRIES = 2;
const PRIOR_WINS = 1;

/** What was paid so far for want of a comparison, and for one that has not come to anything. */
export interface ComparisonDebt {
  readonly owedBlocks: number;
  readonly vainCalls: number;
}

/**
 * Weighs list calls against the Gets that they may save. Comparisons with a first relative are worth it as soon as they
 * cost no more than what they can save; with a further one it depends on how often that has helped.
 */
export class ComparisonOdds {
  readonly #getsPerList: number;
  #tries = PRIOR_TRIES;
  #wins = PRIOR_WINS;

  constructor(prices: Partial<ApiPrices> = {}) {
    const { list, get } = { ...PUBLISHED_PRICES, ...prices };
    this.#getsPerList = list === 0 ? 0 : list / get;
  }

  /**
   * How many list calls may be made for so many blocks that they can save, beside those that were made in vain.
   *
   * @param isFurther another relative is known to have another block there.
   * @returns 0: fetching is cheaper.
   */
  callsFor({ owedBlocks, vainCalls }: ComparisonDebt, isFurther: boolean): number {
    if (this.#getsPerList === 0) return CALLS_MAX;
    const chance = isFurther ? this.#wins / this.#tries : FIRST_CHANCE;
    const callsMax = Math.floor((owedBlocks * chance) / this.#getsPerList) - vainCalls;
    return Math.max(0, Math.min(CALLS_MAX, callsMax));
  }

  /** A comparison with a further relative is done. @param isSame whether it saved the block. */
  learnt(isSame: boolean): void {
    this.#tries += 1;
    if (isSame) this.#wins += 1;
  }
}
