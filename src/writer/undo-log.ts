import type { Clock } from '../util/clock.js';
import { systemCodeOf } from '../util/errors.js';
import { MIB } from '../util/units.js';
import { ByteSlabs } from './byte-slabs.js';
import type { DataFiles } from './data-files.js';
import type { Layer } from './layer.js';
import { SECTOR_BYTES, SectorState } from './sector-state.js';

/** Memory for bytes that were overwritten. */
const BYTES_MAX = 64 * MIB;
/** Some 12 MiB. */
const ENTRIES_MAX = 131_072;
/** Reading what is overwritten may hold up everybody for so long between two flushes. */
const READING_MAX_MS = 250;

/** What sectors were before a change. */
export interface UndoEntry {
  readonly start: number;
  readonly count: number;
  readonly state: SectorState;
  /** What the data file had there; absent: nothing, or nothing that a change has overwritten. */
  readonly bytes: Buffer | undefined;
}

/**
 * The way back to the last flush of a client, for commits of a disk in use: what each change since has replaced. Bounded;
 * where more has changed there is no way back until the next flush.
 */
export class UndoLog {
  readonly #clock: Clock;
  readonly #slabs = new ByteSlabs();
  #entries: UndoEntry[] = [];
  /** Changes before the first of the entries. */
  #dropped = 0;
  /** All changes after this one are in the entries. */
  #recordedFrom = 0;
  #bytes = 0;
  #readingMs = 0;
  /** Undefined: the flush is out of reach. */
  #point: number | undefined = 0;
  #isRecording = true;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Remembers what a write is about to replace. */
  beforeWrite(layer: Layer, data: DataFiles, start: number, count: number): void {
    this.#before(layer, start, count, data);
  }

  /** Remembers what sectors are that are about to become zeros; their bytes stay where they are. */
  beforeClear(layer: Layer, start: number, count: number): void {
    this.#before(layer, start, count, undefined);
  }

  /** A flush begins that is a point to go back to. Returns what {@link reached} is to be told. */
  begin(): number {
    if (!this.#isRecording) {
      this.#isRecording = true;
      this.#recordedFrom = this.#position;
      this.#readingMs = 0;
    }
    return this.#position;
  }

  /** The flush has ended well. */
  reached(point: number): void {
    if (!this.#isRecording || point < this.#recordedFrom) return;
    this.#point = point;
    this.#readingMs = 0;
    const done = this.#entries.splice(0, Math.max(0, point - this.#dropped));
    this.#dropped += done.length;
    for (const { bytes } of done) this.#bytes -= bytes?.length ?? 0;
  }

  /** What has to be undone, the oldest first, to get to the last flush; undefined: there is no way. */
  get entries(): readonly UndoEntry[] | undefined {
    return this.#point === undefined ? undefined : this.#entries;
  }

  /** From here on changes to another layer count, which had nothing at the last flush. */
  restart(moved: readonly { readonly start: number; readonly count: number }[]): void {
    this.#forget();
    this.#point = this.#recordedFrom = this.#dropped;
    this.#isRecording = true;
    for (const { start, count } of moved) {
      this.#entries.push({ start, count, state: SectorState.Through, bytes: undefined });
    }
  }

  get #position(): number {
    return this.#dropped + this.#entries.length;
  }

  /** @param data where the bytes are kept that are about to be overwritten; undefined: none are. */
  #before(layer: Layer, start: number, count: number, data: DataFiles | undefined): void {
    if (!this.#isRecording) return;
    const end = start + count;
    for (let at = start; at < end;) {
      const run = layer.map.rawRunAt(at, end);
      let bytes: Buffer | undefined;
      const isOverwritten = data !== undefined && (run.state & 1) === 1;
      if (isOverwritten) bytes = this.#bytesOf(data, at, run.end - at);
      if ((isOverwritten && bytes === undefined) || this.#entries.length >= ENTRIES_MAX) {
        this.#lose();
        return;
      }
      this.#entries.push({ start: at, count: run.end - at, state: run.state, bytes });
      at = run.end;
    }
  }

  /** What the data file has there; undefined: it cannot be kept. */
  #bytesOf(data: DataFiles, start: number, count: number): Buffer | undefined {
    const lengthBytes = count * SECTOR_BYTES;
    if (this.#bytes + lengthBytes > BYTES_MAX) return undefined;
    const beginMs = this.#clock.nowMs();
    const bytes = this.#slabs.take(lengthBytes);
    if (!readNow(data, start * SECTOR_BYTES, bytes)) return undefined;
    this.#readingMs += this.#clock.nowMs() - beginMs;
    if (this.#readingMs > READING_MAX_MS) return undefined;
    this.#bytes += lengthBytes;
    return bytes;
  }

  #lose(): void {
    this.#forget();
    this.#point = undefined;
    this.#isRecording = false;
  }

  #forget(): void {
    this.#dropped += this.#entries.length;
    this.#entries = [];
    this.#bytes = 0;
    this.#readingMs = 0;
  }
}

function readNow(data: DataFiles, offset: number, target: Buffer): boolean {
  try {
    return data.readNow(offset, target);
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    // Whoever reads it is told; here only the way back is lost.
    return false;
  }
}
