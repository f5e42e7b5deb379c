import { assert } from '../util/assert.js';
import type { CommitWishes } from './fork-facts.js';
import type { ForkState } from './fork-state.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import type { Layer } from './layer.js';
import type { LayerFiles } from './layer-files.js';
import { PointFreeze, wasEmpty } from './point-freeze.js';
import { doubt } from './staging-error.js';
import type { StagingFolder } from './staging-folder.js';
import type { UndoLog } from './undo-log.js';

/** What a {@link LayerFreezer} works on. */
export interface FreezingContext {
  readonly folder: StagingFolder;
  readonly state: ForkState;
  readonly files: LayerFiles;
  readonly undo: UndoLog;
  /** Makes everything durable, and the journal free of data. */
  flushData(): Promise<void>;
  /** Writes records down and makes them, and everything before, durable. */
  record(records: Iterable<JournalRecord>): Promise<void>;
}

/** Ends the layer that takes changes, and begins another one. Nothing may change meanwhile. */
export class LayerFreezer {
  readonly #context: FreezingContext;

  constructor(context: FreezingContext) {
    this.#context = context;
  }

  /** Ends it as it is. */
  async freezeNow(wishes: CommitWishes): Promise<void> {
    const { state, undo } = this.#context;
    assert(state.frozen === undefined, 'one commit at a time');
    // First everything else, so that what fails fails before anything has become of it.
    await this.#context.flushData();
    try {
      await this.#context.record([{ type: RecordType.Layer, layerId: state.active.id + 1, wishes }]);
    } finally {
      undo.restart([]);
    }
  }

  /**
   * Ends it as it was at the point that the undo log goes back to: what has changed since goes into the next one. Where so
   * much has changed that there is no way back, this is such a point itself.
   *
   * @param onMoved called when the next layer has what has changed; from its end on nobody may read that from this one.
   */
  async freezeAtPoint(wishes: CommitWishes, onMoved: (next: Layer) => Promise<void>): Promise<void> {
    const { folder, state, files, undo } = this.#context;
    assert(state.frozen === undefined, 'one commit at a time');
    await this.#context.flushData();
    const { entries } = undo;
    if (entries === undefined || entries.length === 0) return this.freezeNow(wishes);
    const freeze = new PointFreeze(state, entries, (layerId) => files.of(layerId));
    try {
      await freeze.copy();
      await this.#context.record(freeze.owed());
    } catch (error) {
      await files.drop(freeze.next.id);
      throw error;
    }
    try {
      await onMoved(freeze.next);
      await freeze.restoreBytes().catch((error: unknown) => {
        throw doubt(folder, error);
      });
      await this.#context.record(freeze.records(wishes));
    } finally {
      undo.restart(freeze.moved);
    }
  }

  /** True when the layer would have nothing in it if it were frozen at the point. */
  get isPointEmpty(): boolean {
    const { active } = this.#context.state;
    const { entries } = this.#context.undo;
    return entries === undefined ? active.isEmpty : wasEmpty(active, entries);
  }
}
