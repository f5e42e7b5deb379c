import { crc32 } from 'node:zlib';
import { fstat } from 'node:fs';
import { promisify } from 'node:util';
import { readFully } from './file-io.js';
import {
  DIGEST_BYTES,
  DIRECTORY_ENTRY_BYTES,
  DamagedIndexError,
  FOOTER_BYTES,
  HEADER_BYTES,
  OWNER_BYTES,
  PAGE_HEADER_BYTES,
  ROW_BYTES,
  decodeDirectoryEntry,
  decodeFooter,
  decodeHeader,
  decodeOwner,
  decodePage,
  digestOffset,
  type PageReference,
} from './index-format.js';
import type { IndexPage } from './snapshot-view.js';

const statFile = promisify(fstat);

/** What of an index stays in memory while its snapshot is in use: everything but the pages. */
export interface IndexTables {
  readonly volumeSizeGib: number;
  /** Ordinals in this file's pages and directory are places in this list. */
  readonly owners: readonly string[];
  /** One entry of 12 bytes for each GiB. */
  readonly directory: Buffer;
}

/**
 * Reads the tables of an index.
 *
 * @throws {DamagedIndexError} when they are not what was written.
 */
export async function readTables(fd: number): Promise<IndexTables> {
  const { size } = await statFile(fd);
  if (size < HEADER_BYTES + FOOTER_BYTES) throw new DamagedIndexError('it is too short');
  const header = Buffer.alloc(HEADER_BYTES);
  const footerBytes = Buffer.alloc(FOOTER_BYTES);
  await readFully(fd, header, 0);
  await readFully(fd, footerBytes, size - FOOTER_BYTES);
  const volumeSizeGib = decodeHeader(header);
  const footer = decodeFooter(footerBytes);
  const ownersBytes = footer.ownerCount * OWNER_BYTES;
  const tablesBytes = ownersBytes + volumeSizeGib * DIRECTORY_ENTRY_BYTES;
  if (footer.tablesOffset + tablesBytes + FOOTER_BYTES !== size)
    throw new DamagedIndexError('its tables are not where its footer says');
  const tables = Buffer.alloc(tablesBytes);
  await readFully(fd, tables, footer.tablesOffset);
  if (crc32(tables) !== footer.tablesCrc) throw new DamagedIndexError('its tables are damaged');
  const owners = Array.from({ length: footer.ownerCount }, (_, at) => decodeOwner(tables, at * OWNER_BYTES));
  return { volumeSizeGib, owners, directory: tables.subarray(ownersBytes) };
}

/** The page that the tables name for a GiB, or undefined where nothing is listed. */
export function findPage(tables: IndexTables, pageIndex: number): PageReference | undefined {
  if (pageIndex < 0 || pageIndex >= tables.volumeSizeGib) return undefined;
  return decodeDirectoryEntry(tables.directory, pageIndex * DIRECTORY_ENTRY_BYTES, tables.owners);
}

/** Reads one page of an index. @throws {DamagedIndexError} when it is not what was written. */
export async function readPage(
  fd: number,
  reference: PageReference,
  owners: readonly string[],
): Promise<StoredPage> {
  const bytes = Buffer.allocUnsafeSlow(PAGE_HEADER_BYTES + reference.rowCount * ROW_BYTES);
  await readFully(fd, bytes, reference.offset);
  return new StoredPage(decodePage(bytes, reference.rowCount), owners);
}

/** A page as it is on disk. */
export class StoredPage implements IndexPage {
  readonly #rows: Buffer;
  readonly #owners: readonly string[];

  constructor(rows: Buffer, owners: readonly string[]) {
    this.#rows = rows;
    this.#owners = owners;
  }

  get rowCount(): number {
    return this.#rows.length / ROW_BYTES;
  }

  /** What the page takes in memory. */
  get weightBytes(): number {
    return this.#rows.length;
  }

  blockIndexAt(row: number): number {
    return this.#rows.readUInt32LE(row * ROW_BYTES);
  }

  ownerAt(row: number): string {
    const ordinal = this.#rows.readUInt32LE(row * ROW_BYTES + 4);
    const owner = this.#owners[ordinal];
    if (owner === undefined) throw new DamagedIndexError(`one of its pages names owner ${ordinal}`);
    return owner;
  }

  slotAt(row: number): number {
    return this.#rows.readUInt32LE(row * ROW_BYTES + 8);
  }

  digestAt(row: number): Buffer {
    const offset = digestOffset(row);
    return this.#rows.subarray(offset, offset + DIGEST_BYTES);
  }
}
