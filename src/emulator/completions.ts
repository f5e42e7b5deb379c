import type { Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import type { FaultSettings } from './faults/settings.js';
import { SnapshotState } from './store/metadata.js';
import type { PendingSnapshot } from './store/pending-snapshot.js';
import type { SnapshotReader } from './store/snapshot-reader.js';

export interface CompletionsOptions {
  readonly reader: SnapshotReader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: () => FaultSettings;
  /** Called when a snapshot is complete or has failed. */
  readonly onSettled: (snapshot: PendingSnapshot) => void;
}

/** Completes snapshots in the background, each of them once. */
export class Completions {
  readonly #options: CompletionsOptions;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(options: CompletionsOptions) {
    this.#options = options;
  }

  /**
   * Completes a snapshot whose completion was requested, unless that is under way. What fails for want of space
   * or the like leaves it pending, and is tried again with the next CompleteSnapshot or the next server.
   */
  begin(snapshot: PendingSnapshot): void {
    const { snapshotId } = snapshot.metadata;
    if (this.#underWay.has(snapshotId)) return;
    const running = this.#run(snapshot)
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted) return;
        this.#options.logger.error('Cannot complete a snapshot', { snapshotId, reason: messageOf(error) });
      })
      .finally(() => this.#underWay.delete(snapshotId));
    this.#underWay.set(snapshotId, running);
  }

  /** Ends the waiting ones and waits for those that work. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#underWay.values());
  }

  async #run(snapshot: PendingSnapshot): Promise<void> {
    const { clock, reader, settings, onSettled, logger } = this.#options;
    const { parentSnapshotId, snapshotId } = snapshot.metadata;
    const { completeDelayMs } = settings();
    if (completeDelayMs > 0) await clock.sleep(completeDelayMs, this.#stop.signal);
    const parent = parentSnapshotId === null ? undefined : await reader.views.view(parentSnapshotId);
    await snapshot.complete(parent, clock.dateMs());
    const { state, errorReason } = snapshot.metadata;
    if (state === SnapshotState.Error) logger.warn('A snapshot failed', { snapshotId, reason: errorReason });
    onSettled(snapshot);
    await snapshot.close();
  }
}
