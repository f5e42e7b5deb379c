import { BlockReader } from './block-reader.js';
import { BufferPool } from './buffer-pool.js';
import { Catalog } from './catalog.js';
import { openLayout, type StoreLayout } from './layout.js';
import { OpenFiles } from './open-files.js';
import { SnapshotViews } from './snapshot-views.js';

/** Blocks that are read or sent at the same time: 64 MiB. */
const READS_MAX = 128;
/** Files that stay open for reading. */
const FILES_MAX = 128;

/** A folder's complete snapshots, to be read. */
export class SnapshotReader {
  readonly layout: StoreLayout;
  readonly catalog: Catalog;
  readonly views: SnapshotViews;
  readonly blocks: BlockReader;
  readonly #files = new OpenFiles(FILES_MAX);

  constructor(layout: StoreLayout) {
    this.layout = layout;
    this.catalog = new Catalog(layout);
    this.views = new SnapshotViews(layout, this.catalog, this.#files);
    this.blocks = new BlockReader(layout, this.catalog, this.#files, new BufferPool(READS_MAX));
  }

  /** Opens the folder, and makes it where there is none. @throws {EnvironmentError} */
  static async open(dir: string): Promise<SnapshotReader> {
    return new SnapshotReader(await openLayout(dir));
  }

  close(): Promise<void> {
    return this.#files.close();
  }
}
