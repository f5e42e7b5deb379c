/** The snapshots that were started a short time ago. [ebs: StartSnapshot] The first puts can be answered with 404. */
export class NewSnapshots {
  readonly #graceMs: number;
  /** In the order in which they were started. */
  readonly #startedMs = new Map<string, number>();

  /** @param graceMs for how long a snapshot is new. */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** A snapshot was started. Those that are no longer new are forgotten. */
  add(snapshotId: string, nowMs: number): void {
    for (const [oldId, startedMs] of this.#startedMs) {
      if (nowMs - startedMs >= this.#graceMs) this.#startedMs.delete(oldId);
    }
    this.#startedMs.set(snapshotId, nowMs);
  }

  /** Until when a snapshot is new; undefined when it was not started here, or is forgotten. */
  graceEndMs(snapshotId: string): number | undefined {
    const startedMs = this.#startedMs.get(snapshotId);
    return startedMs === undefined ? undefined : startedMs + this.#graceMs;
  }
}
