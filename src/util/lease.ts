/**
 * How long somebody uses what another one lent. The user makes a lease and ends it when it has done; the lender notes in it
 * what is to be taken back then. One that is never ended costs memory, and nothing else.
 */
export class Lease {
  #ends: (() => void)[] = [];

  /** Nothing is lent by it. */
  get isEmpty(): boolean {
    return this.#ends.length === 0;
  }

  /** For the lender, before it hands anything out. @param onEnd called once. */
  hold(onEnd: () => void): void {
    this.#ends.push(onEnd);
  }

  /** For the user, who looks at nothing of it any more. Of no effect the second time. */
  end(): void {
    const ends = this.#ends;
    this.#ends = [];
    for (const end of ends) end();
  }
}
