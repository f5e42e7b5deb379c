/** Gives a range back. */
export type Release = () => void;

interface Claim {
  readonly start: number;
  readonly end: number;
  /** Claims before this one that overlap it and are still there. */
  waitsFor: number;
  readonly blocks: Claim[];
  grant: (() => void) | undefined;
}

/**
 * Lets one at a time have each part of a range. Who overlaps waits for all who asked before, so nobody starves. The
 * number of claims is bounded by the requests that the server lets in.
 */
export class RangeLock {
  readonly #claims = new Set<Claim>();

  /** Claims that are held or waiting. */
  get claimCount(): number {
    return this.#claims.size;
  }

  /** True when nobody holds any of [start, end) or waits for it: who is done at once need not take it. */
  isFree(start: number, end: number): boolean {
    for (const claim of this.#claims) if (claim.start < end && start < claim.end) return false;
    return true;
  }

  /** Takes [start, end): the release at once where it is free, else a promise of it. */
  take(start: number, end: number): Release | Promise<Release> {
    const claim: Claim = { start, end, waitsFor: 0, blocks: [], grant: undefined };
    for (const other of this.#claims) {
      if (other.start < end && start < other.end) {
        other.blocks.push(claim);
        claim.waitsFor += 1;
      }
    }
    this.#claims.add(claim);
    const release = (): void => this.#release(claim);
    if (claim.waitsFor === 0) return release;
    return new Promise((resolve) => {
      claim.grant = () => resolve(release);
    });
  }

  #release(claim: Claim): void {
    this.#claims.delete(claim);
    for (const blocked of claim.blocks) {
      blocked.waitsFor -= 1;
      if (blocked.waitsFor === 0) blocked.grant?.();
    }
  }
}
