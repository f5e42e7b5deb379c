import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { snapshotNotFound } from '../errors.js';
import type { FaultSettings } from '../faults/settings.js';
import type { BlockContents } from './block-reader.js';
import { SnapshotOrigin, SnapshotState, type SnapshotMetadata } from './metadata.js';
import { SnapshotReader } from './snapshot-reader.js';
import type { SnapshotView } from './snapshot-view.js';
import { removeAbandoned } from './temporary.js';

export interface StoreOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  settings(): FaultSettings;
}

/** The snapshots of one folder, as the one process that serves it sees them. */
export class Store {
  readonly #reader: SnapshotReader;
  readonly #options: StoreOptions;

  private constructor(reader: SnapshotReader, options: StoreOptions) {
    this.#reader = reader;
    this.#options = options;
  }

  static async open(options: StoreOptions): Promise<Store> {
    const reader = await SnapshotReader.open(options.dir);
    await removeAbandoned(reader.layout);
    return new Store(reader, options);
  }

  get reader(): SnapshotReader {
    return this.#reader;
  }

  /** The view of a snapshot that can be read now. @throws {ApiError} 404 for every other one. */
  async readableView(snapshotId: string): Promise<SnapshotView> {
    const metadata = await this.#reader.catalog.find(snapshotId);
    if (metadata === undefined || !this.#isReadable(metadata)) throw snapshotNotFound(snapshotId);
    return this.#reader.views.view(snapshotId);
  }

  /** The contents of a block, or undefined when it is not listed. */
  readBlock(view: SnapshotView, blockIndex: number): Promise<BlockContents | undefined> {
    return this.#reader.blocks.read(view, blockIndex);
  }

  /** Waits for what is under way and closes the files. */
  async close(): Promise<void> {
    await this.#reader.close();
  }

  // [ebs: Reading / completed is not yet readable]
  #isReadable({ state, origin, completedAtMs }: SnapshotMetadata): boolean {
    if (state !== SnapshotState.Completed) return false;
    if (origin !== SnapshotOrigin.Api || completedAtMs === null) return true;
    return this.#options.clock.dateMs() >= completedAtMs + this.#options.settings().readableDelayMs;
  }
}
