import { TIB } from '../util/units.js';
import { spansOf } from '../util/ranges.js';
import { syncOrDoubt } from './staging-error.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

/** File systems end at 16 TiB a file (ext4), disks at 64: a layer has up to 64 files of this size, sparse. */
const SEGMENT_BYTES = TIB;

const NAME_PATTERN = /^data-(\d+)-(\d+)$/;

/** The layer that a file in the folder belongs to, or undefined when it is no data file. */
export function layerOfFile(name: string): number | undefined {
  const match = NAME_PATTERN.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** The bytes of a layer, each at its own place on the disk; what of them is valid is written elsewhere. */
export class DataFiles {
  readonly #folder: StagingFolder;
  readonly #layerId: number;
  readonly #segments = new Map<number, StagingFile>();
  readonly #opening = new Map<number, Promise<StagingFile>>();
  readonly #unsynced = new Set<number>();
  #isFolderUnsynced = false;
  #failure: Error | undefined;

  constructor(folder: StagingFolder, layerId: number) {
    this.#folder = folder;
    this.#layerId = layerId;
  }

  /** True when something was written since the last sync began. */
  get isUnsynced(): boolean {
    return this.#unsynced.size > 0;
  }

  /** From now on nothing can be read: what the system has in memory may not be what is on the disk. */
  fail(failure: Error): void {
    this.#failure = failure;
  }

  /** Writes, at once where everything is at hand. @throws the system's error: ENOSPC, EIO. */
  write(offset: number, data: Uint8Array): void | Promise<void> {
    const segmentIndex = Math.floor(offset / SEGMENT_BYTES);
    const position = offset - segmentIndex * SEGMENT_BYTES;
    const file = this.#segments.get(segmentIndex);
    if (file === undefined || position + data.length > SEGMENT_BYTES) return this.#writeAcross(offset, data);
    const written = file.write(data, position);
    if (written === undefined) {
      if (!this.#unsynced.has(segmentIndex)) this.#unsynced.add(segmentIndex);
    } else return this.#afterwards(written, segmentIndex);
  }

  /** Reads what was written: all of `target`. @throws when the file ends before. */
  async read(offset: number, target: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    for (const span of spansOf(offset, target.length, SEGMENT_BYTES)) {
      const file = this.#segments.get(span.unitIndex) ?? (await this.#open(span.unitIndex));
      const part = target.subarray(span.startInRange, span.startInRange + span.lengthBytes);
      const bytesRead = await file.read(part, span.startInUnit);
      if (bytesRead < part.length) {
        throw new Error(
          `the staged data of layer ${this.#layerId} ends too early: is a file of ${this.#folder.path} gone?`,
        );
      }
    }
  }

  /** Reads all of `target` at once; false where it is not at hand. @throws the system's error. */
  readNow(offset: number, target: Uint8Array): boolean {
    const segmentIndex = Math.floor(offset / SEGMENT_BYTES);
    const position = offset - segmentIndex * SEGMENT_BYTES;
    const file = this.#segments.get(segmentIndex);
    if (file === undefined || position + target.length > SEGMENT_BYTES) return false;
    return file.readNow(target, position) === target.length;
  }

  /** Opens the files that there are, so that everything is at hand. */
  async openAll(): Promise<void> {
    for (const name of await this.#folder.list()) {
      if (layerOfFile(name) === this.#layerId)
        await this.#open(Number(name.slice(name.lastIndexOf('-') + 1)));
    }
  }

  /** Makes all that was written before the call durable. @throws {JournalError} when that cannot be said. */
  async sync(): Promise<void> {
    const segments = [...this.#unsynced];
    this.#unsynced.clear();
    await Promise.all(
      segments.map(async (index) => {
        const file = this.#segments.get(index);
        if (file !== undefined) await syncOrDoubt(file, this.#folder);
      }),
    );
    if (!this.#isFolderUnsynced) return;
    this.#isFolderUnsynced = false;
    await syncOrDoubt(this.#folder, this.#folder);
  }

  async close(): Promise<void> {
    for (const file of this.#segments.values()) await file.close();
    this.#segments.clear();
  }

  async #writeAcross(offset: number, data: Uint8Array): Promise<void> {
    for (const span of spansOf(offset, data.length, SEGMENT_BYTES)) {
      const file = this.#segments.get(span.unitIndex) ?? (await this.#open(span.unitIndex));
      await file.write(
        data.subarray(span.startInRange, span.startInRange + span.lengthBytes),
        span.startInUnit,
      );
      this.#unsynced.add(span.unitIndex);
    }
  }

  async #afterwards(written: Promise<void>, segmentIndex: number): Promise<void> {
    await written;
    this.#unsynced.add(segmentIndex);
  }

  #open(segmentIndex: number): Promise<StagingFile> {
    let opening = this.#opening.get(segmentIndex);
    if (opening === undefined) {
      opening = this.#openNow(segmentIndex).finally(() => this.#opening.delete(segmentIndex));
      this.#opening.set(segmentIndex, opening);
    }
    return opening;
  }

  async #openNow(segmentIndex: number): Promise<StagingFile> {
    this.#isFolderUnsynced = true;
    const file = await this.#folder.open(`data-${this.#layerId}-${segmentIndex}`, { create: true });
    this.#segments.set(segmentIndex, file);
    return file;
  }
}
