import { crc32c } from '../crc32c.js';
import { damaged } from '../file-error.js';
import { FileKind, type DirectoryEntry } from '../filesystem.js';
import { readContent, type ContentContext } from './file-content.js';
import { InodeFlag, RoCompat } from './features.js';
import { inlineAttributeOf, type ExtInode } from './inode.js';

const HEADER_BYTES = 8;
/** The checksum of a block of a directory looks like an entry without a name of this length and type. */
const TAIL_BYTES = 12;
const TAIL_TYPE = 0xde;
/** An inline directory begins with the number of its parent. */
const INLINE_PARENT_BYTES = 4;

/** By the type byte of an entry. */
const KINDS: readonly (FileKind | undefined)[] = [
  undefined,
  FileKind.File,
  FileKind.Directory,
  FileKind.CharacterDevice,
  FileKind.BlockDevice,
  FileKind.Fifo,
  FileKind.Socket,
  FileKind.Symlink,
];

/** How entries are read. */
export interface DirectoryContext extends ContentContext {
  /** Entries tell the kind of what they name. */
  readonly hasTypes: boolean;
}

/**
 * The entries of a directory in the order of its blocks. Indexed directories are read the same way: the blocks of the
 * index look like unused entries to who does not know them.
 *
 * @throws {FileError} `EIO` for entries that do not fit in their block, and, after all others were given, for names
 *   that no system makes.
 */
export async function* directoryEntries(
  inode: ExtInode,
  context: DirectoryContext,
): AsyncGenerator<DirectoryEntry> {
  let unsafeCount = 0;
  for await (const bytes of directoryBlocks(inode, context)) {
    for (const entry of entriesOf(bytes, inode, context.hasTypes)) {
      if (isOwnName(entry.nameBytes)) continue;
      if (isSafeName(entry.nameBytes)) yield entry;
      else unsafeCount += 1;
    }
  }
  if (unsafeCount > 0) {
    throw damaged(
      `directory inode ${inode.stat.inodeNumber} has names with a slash or a zero byte in them (${unsafeCount}, left out)`,
    );
  }
}

async function* directoryBlocks(inode: ExtInode, context: DirectoryContext): AsyncGenerator<Buffer> {
  if ((inode.flags & InodeFlag.InlineData) !== 0) {
    yield inode.block.subarray(INLINE_PARENT_BYTES);
    const rest = inlineAttributeOf(inode);
    if (rest !== undefined) yield rest;
    return;
  }
  const { blockBytes } = context.blocks;
  if (inode.stat.sizeBytes % blockBytes !== 0) {
    throw damaged(`directory inode ${inode.stat.inodeNumber} does not end with a block`);
  }
  const block = Buffer.alloc(blockBytes);
  let filledBytes = 0;
  for await (const chunk of readContent(inode, context, 0, inode.stat.sizeBytes)) {
    // Linux goes on behind a hole in a directory, too; a hole holds no names.
    if (!(chunk instanceof Uint8Array)) {
      filledBytes = (filledBytes + chunk.zeroBytes) % blockBytes;
      if (filledBytes > 0) throw damaged(`a hole in directory inode ${inode.stat.inodeNumber}`);
      continue;
    }
    let at = 0;
    while (at < chunk.length) {
      const partBytes = Math.min(blockBytes - filledBytes, chunk.length - at);
      block.set(chunk.subarray(at, at + partBytes), filledBytes);
      at += partBytes;
      filledBytes += partBytes;
      if (filledBytes < blockBytes) continue;
      filledBytes = 0;
      if ((context.roCompat & RoCompat.MetadataChecksum) !== 0) checkBlock(block, inode);
      yield block;
    }
  }
}

function* entriesOf(bytes: Buffer, inode: ExtInode, hasTypes: boolean): Generator<DirectoryEntry> {
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const inodeNumber = bytes.readUInt32LE(at);
    const recordBytes = recordBytesOf(bytes.readUInt16LE(at + 4), bytes.length);
    // Without types, the length of a name takes two bytes, of which the upper one is always 0.
    const nameLength = hasTypes ? bytes.readUInt8(at + 6) : bytes.readUInt16LE(at + 6);
    if (recordBytes < HEADER_BYTES || recordBytes % 4 !== 0 || at + recordBytes > bytes.length) {
      throw damaged(`an entry of directory inode ${inode.stat.inodeNumber} does not fit in its block`);
    }
    if (inodeNumber !== 0) {
      if (nameLength === 0 || nameLength > 255 || HEADER_BYTES + nameLength > recordBytes) {
        throw damaged(`a name in directory inode ${inode.stat.inodeNumber} does not fit in its entry`);
      }
      const nameBytes = Buffer.from(bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + nameLength));
      yield {
        nameBytes,
        name: nameBytes.toString('utf8'),
        inodeNumber,
        kind: hasTypes ? KINDS[bytes.readUInt8(at + 7) & 7] : undefined,
      };
    }
    at += recordBytes;
  }
}

/** 64 KiB do not fit in 16 bits, and are written in these two ways. */
function recordBytesOf(raw: number, blockBytes: number): number {
  return blockBytes === 65_536 && (raw === 65_535 || raw === 0) ? 65_536 : raw;
}

function isOwnName(name: Buffer): boolean {
  return (
    (name.length === 1 && name[0] === 0x2e) || (name.length === 2 && name[0] === 0x2e && name[1] === 0x2e)
  );
}

function isSafeName(name: Buffer): boolean {
  return !name.includes(0x2f) && !name.includes(0);
}

/**
 * Checks a block that has names. Blocks of an index lead to none here and have their checksum elsewhere, but may look
 * as if they had a tail: an index begins with `.` and with a `..` that covers the rest, its other blocks with an entry
 * that covers them whole.
 */
function checkBlock(block: Buffer, inode: ExtInode): void {
  const tail = block.length - TAIL_BYTES;
  const first = recordBytesOf(block.readUInt16LE(4), block.length);
  if (first === block.length || (first === 12 && block.readUInt16LE(16) === tail)) return;
  const hasTail =
    block.readUInt32LE(tail) === 0 &&
    block.readUInt16LE(tail + 4) === TAIL_BYTES &&
    block.readUInt8(tail + 6) === 0 &&
    block.readUInt8(tail + 7) === TAIL_TYPE;
  if (!hasTail) return;
  if (crc32c(block.subarray(0, tail), inode.checksumSeed) !== block.readUInt32LE(tail + 8)) {
    throw damaged(`the checksum of a block of directory inode ${inode.stat.inodeNumber} is wrong`);
  }
}
