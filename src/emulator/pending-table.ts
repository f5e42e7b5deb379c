import type { Clock, Timer } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import type { PendingSnapshot } from './store/pending-snapshot.js';

/** How often snapshots that ran out of time are looked for, beside whenever they are asked for. */
const SWEEP_MS = 60_000;

/** The snapshots that are pending, and the end of those that run out of time. */
export class PendingTable {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #snapshots = new Map<string, PendingSnapshot>();
  #sweep: Timer | undefined;

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
  }

  get size(): number {
    return this.#snapshots.size;
  }

  get(snapshotId: string): PendingSnapshot | undefined {
    return this.#snapshots.get(snapshotId);
  }

  add(snapshot: PendingSnapshot): void {
    this.#snapshots.set(snapshot.metadata.snapshotId, snapshot);
  }

  remove(snapshot: PendingSnapshot): void {
    this.#snapshots.delete(snapshot.metadata.snapshotId);
  }

  /** Ends a snapshot that ran out of time. [ebs: StartSnapshot / Timeout] */
  async expire(snapshotId: string): Promise<void> {
    const snapshot = this.#snapshots.get(snapshotId);
    if (snapshot?.isOverdue(this.#clock.dateMs()) !== true) return;
    // Nobody finds it any more while its files are being closed.
    this.#snapshots.delete(snapshotId);
    await snapshot.fail('it was not completed in time');
    await snapshot.close();
  }

  async expireAll(): Promise<void> {
    for (const snapshotId of [...this.#snapshots.keys()]) await this.expire(snapshotId);
  }

  /** Looks for them from now on, so that their blocks do not lie around until somebody asks. */
  beginSweeping(): void {
    this.#sweep = this.#clock.setTimer(SWEEP_MS, () => {
      this.expireAll().catch((error: unknown) => {
        this.#logger.error('Cannot end a snapshot that ran out of time', { reason: messageOf(error) });
      });
      this.beginSweeping();
    });
  }

  /** Makes everything durable that was put, and closes the files. */
  async close(): Promise<void> {
    this.#sweep?.cancel();
    for (const snapshot of this.#snapshots.values()) {
      await snapshot.blocks.sync();
      await snapshot.close();
    }
  }
}
