import { readFile, readdir } from 'node:fs/promises';
import { SNAPSHOT_ID_PATTERN } from '../../ebs/constants.js';
import { systemCodeOf } from '../../util/errors.js';
import type { StoreLayout } from './layout.js';
import { decodeMetadata, SnapshotState, type SnapshotMetadata } from './metadata.js';

/**
 * What snapshots there are. The folder is the truth: one that another process adds is found when it is asked
 * for. What cannot change any more is read once.
 */
export class Catalog {
  readonly #layout: StoreLayout;
  readonly #settled = new Map<string, SnapshotMetadata>();

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  /** The metadata of a snapshot that was found before and cannot change any more. */
  settled(snapshotId: string): SnapshotMetadata | undefined {
    return this.#settled.get(snapshotId);
  }

  /**
   * The metadata of a snapshot as it is on disk, or undefined when there is no such snapshot.
   *
   * @throws {EnvironmentError} when its file is damaged.
   */
  async find(snapshotId: string): Promise<SnapshotMetadata | undefined> {
    const settled = this.#settled.get(snapshotId);
    if (settled !== undefined) return settled;
    if (!SNAPSHOT_ID_PATTERN.test(snapshotId)) return undefined;
    const path = this.#layout.metadataFile(snapshotId);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const metadata = decodeMetadata(text, path);
    if (metadata.state !== SnapshotState.Pending) this.#settled.set(snapshotId, metadata);
    return metadata;
  }

  /** Every snapshot in the folder, the oldest first. */
  async all(): Promise<SnapshotMetadata[]> {
    const names = await readdir(this.#layout.snapshotsDir);
    const found: SnapshotMetadata[] = [];
    for (const name of names) {
      const metadata = await this.find(name);
      if (metadata !== undefined) found.push(metadata);
    }
    return found.sort((a, b) => a.startTimeMs - b.startTimeMs || (a.snapshotId < b.snapshotId ? -1 : 1));
  }
}
