import { damaged } from '../file-error.js';

/** What tables of extended attributes begin with, in inodes and in blocks. */
export const ATTRIBUTE_MAGIC = 0xea020000;
/** In a block, entries come after a header of this length. */
export const ATTRIBUTE_BLOCK_HEADER_BYTES = 32;

const ENTRY_BYTES = 16;
/** Linux refuses larger ones: `XATTR_SIZE_MAX`. */
const VALUE_BYTES_MAX = 65_536;

/** An extended attribute as a table has it. */
export interface AttributeEntry {
  /** Stands for the first part of the name: {@link AttributePrefix}. */
  readonly prefixIndex: number;
  /** The rest of the name. */
  readonly suffix: Buffer;
  /** The inode whose content is the value; 0 where the value is in the table. */
  readonly valueInode: number;
  readonly valueBytes: number;
  /** Empty where an inode has it. */
  readonly value: Buffer;
}

/** `EXT4_XATTR_INDEX_...` of Linux. */
export const AttributePrefix = {
  User: 1,
  AclAccess: 2,
  AclDefault: 3,
  Trusted: 4,
  Security: 6,
  System: 7,
} as const;

/**
 * The entries of a table.
 *
 * @param first where they begin in `table`.
 * @param valuesFrom what the places of values count from.
 * @throws {FileError} `EIO` for one that does not fit in the table.
 */
export function* attributeEntries(
  table: Buffer,
  first: number,
  valuesFrom: number,
): Generator<AttributeEntry> {
  let at = first;
  while (at + 4 <= table.length && table.readUInt32LE(at) !== 0) {
    if (at + ENTRY_BYTES > table.length) throw damaged('an extended attribute does not fit in its place');
    const suffixEnd = at + ENTRY_BYTES + table.readUInt8(at);
    const valueInode = table.readUInt32LE(at + 4);
    const valueBytes = table.readUInt32LE(at + 8);
    const start = valuesFrom + table.readUInt16LE(at + 2);
    const end = start + (valueInode === 0 ? valueBytes : 0);
    if (suffixEnd > table.length || end > table.length || valueBytes > VALUE_BYTES_MAX) {
      throw damaged('an extended attribute does not fit in its place');
    }
    yield {
      prefixIndex: table.readUInt8(at + 1),
      suffix: table.subarray(at + ENTRY_BYTES, suffixEnd),
      valueInode,
      valueBytes,
      value: valueInode === 0 ? table.subarray(start, end) : Buffer.alloc(0),
    };
    at = at + ENTRY_BYTES + Math.ceil((suffixEnd - at - ENTRY_BYTES) / 4) * 4;
  }
}
