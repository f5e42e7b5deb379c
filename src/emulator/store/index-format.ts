import { crc32 } from 'node:zlib';
import { assert } from '../../util/assert.js';
import { BLOCKS_PER_GIB } from '../../ebs/constants.js';

// The index of a complete snapshot: a header, pages of rows, the table of owners, the directory, a footer.
// A page describes the listed blocks of one GiB. A page that a snapshot did not change is not written again:
// its directory points into the index of the ancestor that wrote it, so that a lookup costs the same after any
// number of generations. All numbers are little-endian.

/** Blocks that one page covers: one GiB. */
export const PAGE_BLOCKS = BLOCKS_PER_GIB;

/** The slot of a block of explicit zeros, which needs no place in a file. */
export const ZERO_SLOT = 0xffff_ffff;

/** A row: block index, ordinal of the owner, slot (u32 each), SHA-256. */
export const ROW_BYTES = 44;
export const DIGEST_BYTES = 32;
const DIGEST_OFFSET = 12;

/** A page begins with its number of rows and their CRC-32. */
export const PAGE_HEADER_BYTES = 8;

export const HEADER_BYTES = 16;
export const FOOTER_BYTES = 48;
const HEADER_MAGIC = 'SNBDIDX1';
const FOOTER_MAGIC = 'SNBDEND1';

/** A directory entry: ordinal of the owner plus one (0: nothing is listed), rows, offset / 4. */
export const DIRECTORY_ENTRY_BYTES = 12;
const OFFSET_UNIT = 4;

/** An owner: its snapshot id, padded with NUL. */
export const OWNER_BYTES = 24;

/** One block that a snapshot lists. */
export interface IndexRow {
  readonly blockIndex: number;
  /** Ordinal in the owner table of the file that the page is in. */
  readonly ownerOrdinal: number;
  /** Slot in the owner's file of blocks, or {@link ZERO_SLOT}. In a synthetic owner: the block index. */
  readonly slot: number;
  /** SHA-256 of the block; zeros where the owner is synthetic, since it is computed with the block. */
  readonly digest: Uint8Array;
}

/** Where a page is. */
export interface PageReference {
  /** The snapshot whose index it is in. */
  readonly ownerId: string;
  readonly rowCount: number;
  /** In bytes from the start of that index; 0: the owner is synthetic and the page is computed. */
  readonly offset: number;
}

export interface IndexFooter {
  readonly ownerCount: number;
  readonly tablesOffset: number;
  readonly ownBlockCount: number;
  readonly listedBlockCount: number;
  /** CRC-32 of owners and directory. */
  readonly tablesCrc: number;
}

/** Thrown when an index does not hold what its checksums say. */
export class DamagedIndexError extends Error {
  override readonly name = 'DamagedIndexError';
}

export function encodeHeader(volumeSizeGib: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write(HEADER_MAGIC, 'latin1');
  bytes.writeUInt32LE(volumeSizeGib, 8);
  return bytes;
}

/** The size of the volume in GiB. */
export function decodeHeader(bytes: Buffer): number {
  if (bytes.toString('latin1', 0, 8) !== HEADER_MAGIC) throw new DamagedIndexError('not an index');
  return bytes.readUInt32LE(8);
}

export function encodeFooter(footer: IndexFooter): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  bytes.write(FOOTER_MAGIC, 'latin1');
  bytes.writeUInt32LE(footer.ownerCount, 8);
  bytes.writeUInt32LE(footer.tablesCrc, 12);
  bytes.writeUIntLE(footer.tablesOffset, 16, 6);
  bytes.writeUInt32LE(footer.ownBlockCount, 24);
  bytes.writeUInt32LE(footer.listedBlockCount, 28);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, FOOTER_BYTES - 4)), FOOTER_BYTES - 4);
  return bytes;
}

export function decodeFooter(bytes: Buffer): IndexFooter {
  const crc = crc32(bytes.subarray(0, FOOTER_BYTES - 4));
  if (bytes.toString('latin1', 0, 8) !== FOOTER_MAGIC || bytes.readUInt32LE(FOOTER_BYTES - 4) !== crc)
    throw new DamagedIndexError('its footer is damaged');
  return {
    ownerCount: bytes.readUInt32LE(8),
    tablesCrc: bytes.readUInt32LE(12),
    tablesOffset: bytes.readUIntLE(16, 6),
    ownBlockCount: bytes.readUInt32LE(24),
    listedBlockCount: bytes.readUInt32LE(28),
  };
}

/** A page with its header. @param rows ascending by block index, at most {@link PAGE_BLOCKS}. */
export function encodePage(rows: readonly IndexRow[]): Buffer {
  assert(rows.length <= PAGE_BLOCKS, `encodePage: ${rows.length} rows`);
  const bytes = Buffer.alloc(PAGE_HEADER_BYTES + rows.length * ROW_BYTES);
  rows.forEach((row, at) => encodeRow(row, bytes, PAGE_HEADER_BYTES + at * ROW_BYTES));
  bytes.writeUInt32LE(rows.length, 0);
  bytes.writeUInt32LE(crc32(bytes.subarray(PAGE_HEADER_BYTES)), 4);
  return bytes;
}

function encodeRow(row: IndexRow, bytes: Buffer, offset: number): void {
  assert(row.digest.length === DIGEST_BYTES, `encodeRow: digest of ${row.digest.length} bytes`);
  bytes.writeUInt32LE(row.blockIndex, offset);
  bytes.writeUInt32LE(row.ownerOrdinal, offset + 4);
  bytes.writeUInt32LE(row.slot, offset + 8);
  bytes.set(row.digest, offset + DIGEST_OFFSET);
}

/** The rows of a page, without its header, after comparing count and checksum. */
export function decodePage(bytes: Buffer, rowCount: number): Buffer {
  const rows = bytes.subarray(PAGE_HEADER_BYTES);
  if (bytes.readUInt32LE(0) !== rowCount || bytes.readUInt32LE(4) !== crc32(rows))
    throw new DamagedIndexError('one of its pages is damaged');
  return rows;
}

/** Where the digest of row `row` begins in a page's rows. */
export function digestOffset(row: number): number {
  return row * ROW_BYTES + DIGEST_OFFSET;
}

export function encodeOwner(snapshotId: string, bytes: Buffer, offset: number): void {
  assert(snapshotId.length <= OWNER_BYTES, `encodeOwner: ${snapshotId}`);
  bytes.write(snapshotId, offset, 'latin1');
}

export function decodeOwner(bytes: Buffer, offset: number): string {
  return bytes.toString('latin1', offset, offset + OWNER_BYTES).replace(/\0+$/, '');
}

export function encodeDirectoryEntry(
  bytes: Buffer,
  offset: number,
  entry: { readonly ownerOrdinal: number; readonly rowCount: number; readonly pageOffset: number },
): void {
  assert(entry.pageOffset % OFFSET_UNIT === 0, `encodeDirectoryEntry: page at ${entry.pageOffset}`);
  bytes.writeUInt32LE(entry.ownerOrdinal + 1, offset);
  bytes.writeUInt32LE(entry.rowCount, offset + 4);
  bytes.writeUInt32LE(entry.pageOffset / OFFSET_UNIT, offset + 8);
}

/** The page that an entry names, or undefined where nothing is listed. */
export function decodeDirectoryEntry(
  bytes: Buffer,
  offset: number,
  owners: readonly string[],
): PageReference | undefined {
  const ordinal = bytes.readUInt32LE(offset);
  if (ordinal === 0) return undefined;
  const ownerId = owners[ordinal - 1];
  if (ownerId === undefined) throw new DamagedIndexError(`its directory names owner ${ordinal}`);
  return {
    ownerId,
    rowCount: bytes.readUInt32LE(offset + 4),
    offset: bytes.readUInt32LE(offset + 8) * OFFSET_UNIT,
  };
}
