import type { ForkStore } from './fork-store.js';
import { RecordType } from './journal-record.js';
import { PutState } from './put-table.js';

/**
 * Sees to it that no block is changed in place while the journal says that it was put as it is: after a crash the block
 * would hold something else than the pending snapshot, and nobody would know. The first write to a block after it was
 * put waits for the journal; others to that block wait with it.
 */
export class Reopener {
  readonly #store: ForkStore;
  readonly #reopening = new Map<number, Promise<void>>();
  /** Blocks of which the journal may still say that they were put as they are. */
  readonly #unsure = new Set<number>();

  constructor(store: ForkStore) {
    this.#store = store;
  }

  /** Returns undefined when the blocks may be written at once, else a promise. */
  reopen(startBlock: number, endBlock: number): Promise<void> | undefined {
    const { puts } = this.#store.state.active;
    if (puts.putCount === 0 && this.#unsure.size === 0) return undefined;
    const waits: Promise<void>[] = [];
    for (let block = startBlock; block < endBlock; block += 1) {
      const waiting = this.#reopening.get(block) ?? this.#begin(block);
      if (waiting !== undefined) waits.push(waiting);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  #begin(block: number): Promise<void> | undefined {
    const { active } = this.#store.state;
    const isPut = active.puts.get(block) === PutState.Put;
    if (!isPut && !this.#unsure.has(block)) return undefined;
    this.#unsure.add(block);
    const reopening = this.#record(active.id, block, isPut).finally(() => this.#reopening.delete(block));
    this.#reopening.set(block, reopening);
    return reopening;
  }

  async #record(layerId: number, block: number, isPut: boolean): Promise<void> {
    if (isPut) {
      const record = { type: RecordType.Owe, layerId, startBlock: block, endBlock: block + 1 };
      await this.#store.record(record);
    } else {
      await this.#store.flush();
    }
    this.#unsure.delete(block);
  }
}
