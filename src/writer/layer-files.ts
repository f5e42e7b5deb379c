import { DataFiles, layerOfFile } from './data-files.js';
import type { ForkState } from './fork-state.js';
import { NEW_JOURNAL_NAME } from './journal-checkpoint.js';
import type { StagingFolder } from './staging-folder.js';

/** The data files of all layers of a fork. */
export class LayerFiles {
  readonly #folder: StagingFolder;
  readonly #state: ForkState;
  readonly #byLayer = new Map<number, DataFiles>();

  /** @param state says which layers there are. */
  constructor(folder: StagingFolder, state: ForkState) {
    this.#folder = folder;
    this.#state = state;
  }

  /** The data files of a layer. */
  of(layerId: number): DataFiles {
    let files = this.#byLayer.get(layerId);
    if (files === undefined) {
      files = new DataFiles(this.#folder, layerId);
      this.#byLayer.set(layerId, files);
    }
    return files;
  }

  /** True when something was written since the last sync began. */
  get isUnsynced(): boolean {
    for (const files of this.#byLayer.values()) if (files.isUnsynced) return true;
    return false;
  }

  /** Makes all that was written before the call durable. @throws {JournalError} when that cannot be said. */
  async sync(): Promise<void> {
    for (const files of this.#byLayer.values()) if (files.isUnsynced) await files.sync();
  }

  /** Closes the files of a layer, and removes those of all layers that are no more. */
  async drop(layerId: number): Promise<void> {
    await this.#byLayer.get(layerId)?.close();
    this.#byLayer.delete(layerId);
    await this.removeLeftovers();
  }

  /** Removes what no longer belongs to the fork. */
  async removeLeftovers(): Promise<void> {
    const { active, frozen } = this.#state;
    for (const name of await this.#folder.list()) {
      const layerId = layerOfFile(name);
      const isDropped = layerId !== undefined && layerId !== active.id && layerId !== frozen?.id;
      if (isDropped || name === NEW_JOURNAL_NAME) await this.#folder.remove(name);
    }
  }

  async close(): Promise<void> {
    for (const files of this.#byLayer.values()) await files.close();
  }
}
