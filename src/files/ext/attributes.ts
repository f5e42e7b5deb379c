import { crc32c } from '../crc32c.js';
import { damaged } from '../file-error.js';
import type { FileAttribute } from '../filesystem.js';
import { aclValue } from './acl.js';
import {
  ATTRIBUTE_BLOCK_HEADER_BYTES,
  ATTRIBUTE_MAGIC,
  attributeEntries,
  AttributePrefix,
  type AttributeEntry,
} from './attribute-format.js';
import { RoCompat } from './features.js';
import { readContent, type ContentContext } from './file-content.js';
import type { ExtInode } from './inode.js';

/** Where the checksum of a block of attributes stands in it. */
const CHECKSUM_OFFSET = 16;

const PREFIXES: Readonly<Record<number, string>> = {
  [AttributePrefix.User]: 'user.',
  [AttributePrefix.AclAccess]: 'system.posix_acl_access',
  [AttributePrefix.AclDefault]: 'system.posix_acl_default',
  [AttributePrefix.Trusted]: 'trusted.',
  [AttributePrefix.Security]: 'security.',
};

/** What reading attributes needs beside the inode. */
export interface AttributeContext extends ContentContext {
  /** What checksums of blocks begin with. */
  readonly checksumSeed: number;
  /** Reads the inode that holds a large value. */
  readonly inode: (inodeNumber: number) => Promise<ExtInode>;
}

/**
 * The extended attributes of a file, by the names and with the values that getxattr(2) gives: from the inode itself,
 * from the block that it may have for them, and from the inodes that hold large values. What the filesystem keeps for
 * itself among them (inline data, keys of encryption) is left out.
 *
 * @throws {FileError} `EIO` for what does not fit together, or has a wrong checksum.
 */
export async function readAttributes(
  inode: ExtInode,
  context: AttributeContext,
): Promise<readonly FileAttribute[]> {
  const attributes: FileAttribute[] = [];
  for (const entry of [...entriesInInode(inode), ...(await entriesInBlock(inode, context))]) {
    const prefix = PREFIXES[entry.prefixIndex];
    if (prefix === undefined) continue;
    const value = await valueOf(entry, context);
    const isAcl =
      entry.prefixIndex === AttributePrefix.AclAccess || entry.prefixIndex === AttributePrefix.AclDefault;
    attributes.push({
      name: Buffer.concat([Buffer.from(prefix), entry.suffix]),
      value: isAcl ? aclValue(value) : value,
    });
  }
  return attributes;
}

function entriesInInode({ bytes, attributesStart }: ExtInode): Iterable<AttributeEntry> {
  if (attributesStart === 0 || attributesStart + 4 > bytes.length) return [];
  if (bytes.readUInt32LE(attributesStart) !== ATTRIBUTE_MAGIC) return [];
  return attributeEntries(bytes, attributesStart + 4, attributesStart + 4);
}

async function entriesInBlock(
  { bytes, stat }: ExtInode,
  { blocks, roCompat, checksumSeed, signal }: AttributeContext,
): Promise<Iterable<AttributeEntry>> {
  const block = bytes.readUInt32LE(0x68) + bytes.readUInt16LE(0x76) * 2 ** 32;
  if (block === 0) return [];
  const table = await blocks.read(block, signal);
  if (table.readUInt32LE(0) !== ATTRIBUTE_MAGIC || table.readUInt32LE(8) !== 1) {
    throw damaged(`block ${block} holds no extended attributes, as inode ${stat.inodeNumber} says it does`);
  }
  if ((roCompat & RoCompat.MetadataChecksum) !== 0) {
    const blank = Buffer.from(table);
    blank.writeUInt32LE(0, CHECKSUM_OFFSET);
    const place = Buffer.alloc(8);
    place.writeBigUInt64LE(BigInt(block));
    if (crc32c(blank, crc32c(place, checksumSeed)) !== table.readUInt32LE(CHECKSUM_OFFSET)) {
      throw damaged(`the checksum of the extended attributes of inode ${stat.inodeNumber} is wrong`);
    }
  }
  return attributeEntries(table, ATTRIBUTE_BLOCK_HEADER_BYTES, 0);
}

async function valueOf(entry: AttributeEntry, context: AttributeContext): Promise<Buffer> {
  if (entry.valueInode === 0) return entry.value;
  const holder = await context.inode(entry.valueInode);
  if (holder.stat.sizeBytes !== entry.valueBytes) {
    throw damaged(`inode ${entry.valueInode} holds another value than that of its attribute`);
  }
  const parts: Buffer[] = [];
  for await (const chunk of readContent(holder, context, 0, entry.valueBytes)) {
    parts.push(chunk instanceof Uint8Array ? Buffer.from(chunk) : Buffer.alloc(chunk.zeroBytes));
  }
  return Buffer.concat(parts);
}
