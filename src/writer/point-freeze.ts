import { MIB } from '../util/units.js';
import type { DataFiles } from './data-files.js';
import type { CommitWishes } from './fork-facts.js';
import type { ForkState } from './fork-state.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { Layer } from './layer.js';
import { PutState } from './put-table.js';
import { SectorMap } from './sector-map.js';
import { isZeroState, SECTOR_BYTES, SECTORS_PER_BLOCK, SectorState } from './sector-state.js';
import type { UndoEntry } from './undo-log.js';

/** Bytes are moved so many at a time. */
const MOVE_BYTES = MIB;

/** Sectors from `start` on. */
export interface SectorSpan {
  readonly start: number;
  readonly count: number;
}

/**
 * Takes what was not flushed out of the layer that is about to be frozen, and into the next one. At every point until the
 * last record is durable a crash leaves flushed sectors as they were flushed, and the others old or new.
 */
export class PointFreeze {
  readonly #state: ForkState;
  readonly #from: DataFiles;
  readonly #to: DataFiles;
  readonly #undo: readonly UndoEntry[];
  /** What the next layer begins with. */
  readonly next: Layer;
  /** What moves into it. */
  readonly moved: readonly SectorSpan[];

  constructor(state: ForkState, undo: readonly UndoEntry[], dataOf: (layerId: number) => DataFiles) {
    this.#state = state;
    this.#undo = undo;
    this.next = new Layer(state.active.id + 1, state.origin.sizeBytes);
    this.#from = dataOf(state.active.id);
    this.#to = dataOf(this.next.id);
    this.moved = spansOf(undo);
  }

  /** Copies what is not flushed to where the next layer has it. @throws the system's error, with nothing changed. */
  async copy(): Promise<void> {
    const { map } = this.#state.active;
    for (const { start, count } of this.moved) {
      for (let at = start; at < start + count;) {
        const run = map.runAt(at, start + count);
        if (isZeroState(run.state)) this.next.clear(at, run.end - at);
        else if (run.state === SectorState.Data) await this.#copyRun(at, run.end);
        at = run.end;
      }
    }
    await this.#to.sync();
  }

  /** Blocks that hold something else than what was put of them, or soon will. */
  owed(): readonly JournalRecord[] {
    const { id: layerId, puts } = this.#state.active;
    if (puts.putCount === 0) return [];
    const records: JournalRecord[] = [];
    for (const { start, count } of this.moved) {
      const endBlock = Math.ceil((start + count) / SECTORS_PER_BLOCK);
      for (let block = Math.floor(start / SECTORS_PER_BLOCK); block < endBlock; block += 1) {
        if (puts.get(block) !== PutState.Put) continue;
        records.push({ type: RecordType.Owe, layerId, startBlock: block, endBlock: block + 1 });
      }
    }
    return records;
  }

  /** Gives the data files back what was overwritten. Nobody may read them where something has moved. */
  async restoreBytes(): Promise<void> {
    for (const { start, bytes } of [...this.#undo].reverse()) {
      if (bytes !== undefined) await this.#from.write(start * SECTOR_BYTES, bytes);
    }
    await this.#from.sync();
  }

  /** The records that end the layer as it was flushed, and begin the next one with the rest. */
  *records(wishes: CommitWishes): Generator<JournalRecord, void> {
    for (const { start, count, state } of [...this.#undo].reverse()) {
      yield { type: RecordType.Restore, start, count, state };
    }
    yield { type: RecordType.Layer, layerId: this.next.id, wishes };
    for (const { start, count } of this.moved) {
      for (let at = start; at < start + count;) {
        const run = this.next.map.runAt(at, start + count);
        const span = { start: at, count: run.end - at };
        if (run.state === SectorState.Data) yield { type: RecordType.Write, ...span };
        else if (isZeroState(run.state)) yield { type: RecordType.Clear, ...span };
        at = run.end;
      }
    }
  }

  async #copyRun(start: number, end: number): Promise<void> {
    const bytes = Buffer.allocUnsafe(Math.min(MOVE_BYTES, (end - start) * SECTOR_BYTES));
    for (let at = start; at < end; at += bytes.length / SECTOR_BYTES) {
      const part = bytes.subarray(0, Math.min(bytes.length, (end - at) * SECTOR_BYTES));
      await this.#from.read(at * SECTOR_BYTES, part);
      await this.#to.write(at * SECTOR_BYTES, part);
    }
    this.next.write(start, end - start);
  }
}

/** True when a layer had nothing in it before the changes that `undo` takes back. */
export function wasEmpty(layer: Layer, undo: readonly UndoEntry[]): boolean {
  const before = new SectorMap(layer.map.sectorCount);
  for (const { start, count, state } of [...undo].reverse()) {
    before.restore(start, count, state === SectorState.Through ? SectorState.Zero : SectorState.Data);
  }
  for (const { startBlock, endBlock } of layer.map.blockRuns()) {
    const end = endBlock * SECTORS_PER_BLOCK;
    for (let at = startBlock * SECTORS_PER_BLOCK; at < end;) {
      const run = layer.map.runAt(at, end);
      const found = before.rawRunAt(at, run.end);
      const isNew = found.state === SectorState.Zero && found.end === run.end;
      if (run.state !== SectorState.Through && !isNew) return false;
      at = run.end;
    }
  }
  return true;
}

/** All sectors of the entries, once, ascending. */
function spansOf(entries: readonly UndoEntry[]): readonly SectorSpan[] {
  const sorted = entries.map(({ start, count }) => ({ start, count })).sort((a, b) => a.start - b.start);
  const spans: { start: number; count: number }[] = [];
  for (const { start, count } of sorted) {
    const last = spans.at(-1);
    if (last !== undefined && start <= last.start + last.count) {
      last.count = Math.max(last.count, start + count - last.start);
    } else {
      spans.push({ start, count });
    }
  }
  return spans;
}
