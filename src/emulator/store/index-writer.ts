import { open, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { assert } from '../../util/assert.js';
import {
  DIGEST_BYTES,
  DIRECTORY_ENTRY_BYTES,
  HEADER_BYTES,
  OWNER_BYTES,
  encodeDirectoryEntry,
  encodeFooter,
  encodeHeader,
  encodeOwner,
  encodePage,
  type IndexRow,
} from './index-format.js';
import type { IndexPage, SnapshotView } from './snapshot-view.js';
import { writeFully } from './file-io.js';

const NO_DIGEST = new Uint8Array(DIGEST_BYTES);

/** A block that the snapshot being indexed stores itself. */
export interface OwnBlock {
  readonly blockIndex: number;
  readonly slot: number;
  readonly digest: Uint8Array;
}

export interface IndexCounts {
  readonly ownBlockCount: number;
  readonly listedBlockCount: number;
}

/** Writes the index of a snapshot, in the order of the disk, with one page in memory. */
export class IndexWriter {
  readonly #handle: FileHandle;
  readonly #snapshotId: string;
  readonly #volumeSizeGib: number;
  readonly #parent: SnapshotView | undefined;
  readonly #directory: Buffer;
  readonly #owners = new Map<string, number>();
  #offset = HEADER_BYTES;
  #nextPage = 0;
  #ownBlockCount = 0;
  #listedBlockCount = 0;

  private constructor(
    handle: FileHandle,
    snapshotId: string,
    volumeSizeGib: number,
    parent: SnapshotView | undefined,
  ) {
    this.#handle = handle;
    this.#snapshotId = snapshotId;
    this.#volumeSizeGib = volumeSizeGib;
    this.#parent = parent;
    this.#directory = Buffer.alloc(volumeSizeGib * DIRECTORY_ENTRY_BYTES);
  }

  /** @param parent whose blocks the snapshot shows where it has none of its own. */
  static async create(
    path: string,
    snapshotId: string,
    volumeSizeGib: number,
    parent: SnapshotView | undefined,
  ): Promise<IndexWriter> {
    const handle = await open(path, 'w', 0o600);
    const writer = new IndexWriter(handle, snapshotId, volumeSizeGib, parent);
    await writeFully(handle.fd, encodeHeader(volumeSizeGib), 0);
    return writer;
  }

  /**
   * Adds the blocks that the snapshot stores in one GiB. A GiB that is left out is the parent's.
   *
   * @param pageIndex greater than that of the page before.
   * @param own ascending by index, at least one.
   */
  async addPage(pageIndex: number, own: readonly OwnBlock[]): Promise<void> {
    assert(pageIndex >= this.#nextPage && own.length > 0, `addPage: page ${pageIndex}`);
    this.#inheritUntil(pageIndex);
    const rows = this.#merge(own, await this.#parent?.page(pageIndex));
    const bytes = encodePage(rows);
    await writeFully(this.#handle.fd, bytes, this.#offset);
    this.#addEntry(this.#snapshotId, rows.length, this.#offset);
    this.#offset += bytes.length;
    this.#ownBlockCount += own.length;
  }

  /** Writes the tables, makes everything durable and closes the file. */
  async finish(): Promise<IndexCounts> {
    this.#inheritUntil(this.#volumeSizeGib);
    const owners = Buffer.alloc(this.#owners.size * OWNER_BYTES);
    for (const [ownerId, ordinal] of this.#owners) encodeOwner(ownerId, owners, ordinal * OWNER_BYTES);
    const tables = Buffer.concat([owners, this.#directory]);
    const counts = { ownBlockCount: this.#ownBlockCount, listedBlockCount: this.#listedBlockCount };
    const footer = encodeFooter({
      ...counts,
      ownerCount: this.#owners.size,
      tablesOffset: this.#offset,
      tablesCrc: crc32(tables),
    });
    await writeFully(this.#handle.fd, Buffer.concat([tables, footer]), this.#offset);
    await this.#handle.sync();
    await this.#handle.close();
    return counts;
  }

  /** Closes the file without finishing it. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  #inheritUntil(pageIndex: number): void {
    while (this.#nextPage < pageIndex) {
      const reference = this.#parent?.pageReference(this.#nextPage);
      if (reference === undefined) this.#nextPage += 1;
      else this.#addEntry(reference.ownerId, reference.rowCount, reference.offset);
    }
  }

  #addEntry(ownerId: string, rowCount: number, pageOffset: number): void {
    encodeDirectoryEntry(this.#directory, this.#nextPage * DIRECTORY_ENTRY_BYTES, {
      ownerOrdinal: this.#ordinalOf(ownerId),
      rowCount,
      pageOffset,
    });
    this.#listedBlockCount += rowCount;
    this.#nextPage += 1;
  }

  /** The rows of both, the snapshot's own in the place of its parent's. */
  #merge(own: readonly OwnBlock[], inherited: IndexPage | undefined): IndexRow[] {
    const rows: IndexRow[] = [];
    const ownerOrdinal = this.#ordinalOf(this.#snapshotId);
    let row = 0;
    const takeInheritedBefore = (blockIndex: number): void => {
      for (; inherited !== undefined && row < inherited.rowCount; row++) {
        const inheritedIndex = inherited.blockIndexAt(row);
        if (inheritedIndex > blockIndex) return;
        if (inheritedIndex < blockIndex) rows.push(this.#inheritedRow(inherited, row));
      }
    };
    for (const block of own) {
      takeInheritedBefore(block.blockIndex);
      rows.push({ ...block, ownerOrdinal });
    }
    takeInheritedBefore(Number.POSITIVE_INFINITY);
    return rows;
  }

  #inheritedRow(page: IndexPage, row: number): IndexRow {
    return {
      blockIndex: page.blockIndexAt(row),
      ownerOrdinal: this.#ordinalOf(page.ownerAt(row)),
      slot: page.slotAt(row),
      digest: page.digestAt(row) ?? NO_DIGEST,
    };
  }

  #ordinalOf(ownerId: string): number {
    const known = this.#owners.get(ownerId);
    if (known !== undefined) return known;
    const ordinal = this.#owners.size;
    this.#owners.set(ownerId, ordinal);
    return ordinal;
  }
}
