import { MIB } from '../../util/units.js';
import { assert } from '../../util/assert.js';
import { EnvironmentError } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';
import { SynthView } from '../synth/synth-view.js';
import type { Catalog } from './catalog.js';
import { DamagedIndexError, type PageReference } from './index-format.js';
import type { StoreLayout } from './layout.js';
import { SnapshotState } from './metadata.js';
import type { OpenFiles } from './open-files.js';
import type { IndexPage, SnapshotView } from './snapshot-view.js';
import { findPage, readPage, readTables, type IndexTables, type StoredPage } from './stored-view.js';
import { WeightedCache } from './weighted-cache.js';

/** The tables of a 64 TiB snapshot take 768 KiB. */
const TABLES_MAX_BYTES = 16 * MIB;
/** A page takes at most 88 KiB and serves one GiB. */
const PAGES_MAX_BYTES = 32 * MIB;

/** Gives views of complete snapshots, and keeps the parts of their indexes that are in use. */
export class SnapshotViews {
  readonly #layout: StoreLayout;
  readonly #catalog: Catalog;
  readonly #files: OpenFiles;
  readonly #tables = new WeightedCache<IndexTables>(
    TABLES_MAX_BYTES,
    (tables) => tables.directory.length + tables.owners.length * 64,
  );
  readonly #pages = new WeightedCache<StoredPage>(PAGES_MAX_BYTES, (page) => page.weightBytes);
  readonly #synthetic = new Map<string, SynthView>();

  constructor(layout: StoreLayout, catalog: Catalog, files: OpenFiles) {
    this.#layout = layout;
    this.#catalog = catalog;
    this.#files = files;
  }

  /**
   * The view of a snapshot that is complete.
   *
   * @throws {EnvironmentError} when its index is damaged.
   */
  async view(snapshotId: string): Promise<SnapshotView> {
    const metadata = await this.#catalog.find(snapshotId);
    assert(metadata?.state === SnapshotState.Completed, `view of ${snapshotId}, which is not complete`);
    if (metadata.synth !== null) return this.#synthView(snapshotId, metadata.volumeSizeGib);
    const tables = this.#tables.get(snapshotId) ?? (await this.#loadTables(snapshotId));
    return {
      snapshotId,
      volumeSizeGib: tables.volumeSizeGib,
      pageReference: (pageIndex) => findPage(tables, pageIndex),
      page: (pageIndex) => this.#page(findPage(tables, pageIndex), pageIndex),
    };
  }

  async #synthView(snapshotId: string, volumeSizeGib: number): Promise<SynthView> {
    let view = this.#synthetic.get(snapshotId);
    if (view === undefined) {
      const parameters = (await this.#catalog.find(snapshotId))?.synth ?? null;
      assert(parameters !== null, `${snapshotId} is not synthetic`);
      view = new SynthView(snapshotId, volumeSizeGib, parameters);
      this.#synthetic.set(snapshotId, view);
    }
    return view;
  }

  async #page(reference: PageReference | undefined, pageIndex: number): Promise<IndexPage | undefined> {
    if (reference === undefined) return undefined;
    const { ownerId, offset } = reference;
    if (offset === 0) return (await this.view(ownerId)).page(pageIndex);
    const key = `${ownerId}:${offset}`;
    return this.#pages.get(key) ?? (await this.#pages.load(key, () => this.#readPage(reference)));
  }

  async #readPage(reference: PageReference): Promise<StoredPage> {
    const { ownerId } = reference;
    const tables = this.#tables.get(ownerId) ?? (await this.#loadTables(ownerId));
    return this.#fromIndex(ownerId, (fd) => readPage(fd, reference, tables.owners));
  }

  #loadTables(snapshotId: string): Promise<IndexTables> {
    return this.#tables.load(snapshotId, () => this.#fromIndex(snapshotId, readTables));
  }

  async #fromIndex<T>(snapshotId: string, read: (fd: number) => Promise<T>): Promise<T> {
    const path = this.#layout.indexFile(snapshotId);
    try {
      return await this.#files.use(path, read);
    } catch (error) {
      const verb = error instanceof DamagedIndexError ? 'use' : 'read';
      throw new EnvironmentError(`Cannot ${verb} ${path}: ${systemReason(error)}.`, { cause: error });
    }
  }
}
