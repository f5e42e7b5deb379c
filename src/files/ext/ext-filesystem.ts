/**
 * Reads ext2, ext3 and ext4 in this process, without a library.
 *
 * The library that there is, ext2fs 4.2.5 (libext2fs in WebAssembly), was measured and left: it does not replay the
 * journal, so that of a filesystem in use it showed files that had been renamed under their old names and none of a
 * new directory; it wrote to the disk while it read a file (459 writes for one file of 30 MB) and failed where it
 * could not; and it asks for each block on its own (29,325 reads for that file).
 */
import type { ReadChunk } from '../../device/block-device.js';
import { damaged, FileError, FileErrorCode } from '../file-error.js';
import {
  FileKind,
  type DirectoryEntry,
  type FileAttribute,
  type FileOptions,
  type FileRef,
  type Filesystem,
  type FileStat,
  type PathOptions,
  type ReadOptions,
} from '../filesystem.js';
import { VolumeReader, type ByteRange } from '../volume-reader.js';
import type { BlockDevice } from '../../device/block-device.js';
import { readAttributes } from './attributes.js';
import { ExtBlocks, type JournalledBlock } from './blocks.js';
import { directoryEntries } from './directory.js';
import { Compat, Incompat, InodeFlag } from './features.js';
import { mappedRuns, readContent, type ContentContext } from './file-content.js';
import { inodeTableOf } from './group-descriptors.js';
import { decodeInode, type ExtInode } from './inode.js';
import { readJournal } from './journal.js';
import { walkPath } from '../path-walk.js';
import {
  decodeSuperblock,
  extTypeOf,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_OFFSET,
  type ExtSuperblock,
} from './superblock.js';

const ROOT_INODE = 2;
/** Links this short lie in the inode itself. */
const SHORT_LINK_BYTES = 60;

/** Opens an ext filesystem. @throws {FileError} when it is none, is damaged, or has features that are not known. */
export async function openExtFilesystem(
  device: BlockDevice,
  range: ByteRange | undefined,
  { signal }: FileOptions = {},
): Promise<ExtFilesystem> {
  const reader = new VolumeReader(device, range);
  const bytes = await reader.readUpTo(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES, signal);
  if (bytes.length < SUPERBLOCK_BYTES) throw damaged('the volume is too small');
  const superblock = decodeSuperblock(bytes);
  if (superblock.blockCount * superblock.blockBytes > reader.sizeBytes) {
    throw damaged(
      `it has ${superblock.blockCount} blocks of ${superblock.blockBytes}, and the volume has ${reader.sizeBytes} bytes`,
    );
  }
  const asFound = new ExtFilesystem(extTypeOf(bytes), superblock, new ExtBlocks(reader, superblock));
  const overlay = await asFound.findJournalled(signal);
  if (overlay.size === 0) return asFound;
  const blocks = new ExtBlocks(reader, superblock, overlay);
  const superblockStart = SUPERBLOCK_OFFSET % superblock.blockBytes;
  const superblockBlock = Math.floor(SUPERBLOCK_OFFSET / superblock.blockBytes);
  const replayed = await blocks.readPart(superblockBlock, superblockStart, SUPERBLOCK_BYTES, signal);
  return new ExtFilesystem(extTypeOf(bytes), decodeSuperblock(replayed), blocks);
}

/** An ext filesystem, opened. See {@link Filesystem}. */
export class ExtFilesystem implements Filesystem {
  readonly type: string;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  readonly rootInodeNumber = ROOT_INODE;
  readonly #superblock: ExtSuperblock;
  readonly #blocks: ExtBlocks;

  constructor(type: string, superblock: ExtSuperblock, blocks: ExtBlocks) {
    this.type = type;
    this.label = superblock.label;
    this.uuid = superblock.uuid;
    this.#superblock = superblock;
    this.#blocks = blocks;
  }

  get journalBlockCount(): number {
    return this.#blocks.overlay.size;
  }

  /** The blocks that have to be read from the journal: none when the filesystem was unmounted. */
  async findJournalled(signal?: AbortSignal): Promise<ReadonlyMap<number, JournalledBlock>> {
    const { compat, incompat, journalInode } = this.#superblock;
    if ((compat & Compat.HasJournal) === 0 || (incompat & Incompat.Recover) === 0) return new Map();
    if (journalInode === 0) {
      throw new FileError(
        FileErrorCode.Unsupported,
        'Cannot replay the journal: it is on another disk, and the filesystem was in use.',
      );
    }
    const inode = await this.#inode(journalInode, signal);
    const span = { start: 0, end: Math.ceil(inode.stat.sizeBytes / this.#blocks.blockBytes) };
    return readJournal(this.#blocks, mappedRuns(inode, this.#context(signal), span), signal);
  }

  async stat(file: FileRef, { followsLast = true, signal }: PathOptions = {}): Promise<FileStat> {
    return (await this.#resolve(file, followsLast, signal)).stat;
  }

  async *readDirectory(file: FileRef, { signal }: FileOptions = {}): AsyncGenerator<DirectoryEntry> {
    const inode = await this.#resolve(file, true, signal);
    if (inode.stat.kind !== FileKind.Directory) {
      throw new FileError(FileErrorCode.NotDirectory, `Cannot list ${nameOf(file)}: it is no directory.`);
    }
    yield* this.#entries(inode, signal);
  }

  async *readFile(file: FileRef, options: ReadOptions = {}): AsyncGenerator<ReadChunk> {
    const { offset = 0, lengthBytes = Number.MAX_SAFE_INTEGER, signal } = options;
    const inode = await this.#resolve(file, true, signal);
    if (inode.stat.kind === FileKind.Directory) {
      throw new FileError(FileErrorCode.IsDirectory, `Cannot read ${nameOf(file)}: it is a directory.`);
    }
    if (inode.stat.kind !== FileKind.File) {
      throw new FileError(FileErrorCode.WrongKind, `Cannot read ${nameOf(file)}: it is no regular file.`);
    }
    const { sizeBytes } = inode.stat;
    const start = Math.min(offset, sizeBytes);
    yield* readContent(inode, this.#context(signal), start, start + Math.min(lengthBytes, sizeBytes - start));
  }

  async readLink(file: FileRef, { signal }: FileOptions = {}): Promise<Buffer> {
    const inode = await this.#resolve(file, false, signal);
    if (inode.stat.kind !== FileKind.Symlink) {
      throw new FileError(FileErrorCode.WrongKind, `Cannot read ${nameOf(file)} as a link: it is none.`);
    }
    return this.#linkTarget(inode, signal);
  }

  async readAttributes(file: FileRef, { signal }: FileOptions = {}): Promise<readonly FileAttribute[]> {
    const inode = await this.#resolve(file, false, signal);
    return readAttributes(inode, {
      ...this.#context(signal),
      checksumSeed: this.#superblock.checksumSeed,
      inode: (inodeNumber) => this.#inode(inodeNumber, signal),
    });
  }

  #context(signal: AbortSignal | undefined): ContentContext {
    return { blocks: this.#blocks, roCompat: this.#superblock.roCompat, signal };
  }

  #entries(inode: ExtInode, signal: AbortSignal | undefined): AsyncGenerator<DirectoryEntry> {
    const hasTypes = (this.#superblock.incompat & Incompat.Filetype) !== 0;
    return directoryEntries(inode, { ...this.#context(signal), hasTypes });
  }

  async #resolve(file: FileRef, followsLast: boolean, signal: AbortSignal | undefined): Promise<ExtInode> {
    if (typeof file !== 'string' && !(file instanceof Uint8Array))
      return this.#inode(file.inodeNumber, signal);
    const source = {
      root: () => this.#inode(ROOT_INODE, signal),
      find: (directory: ExtInode, name: Buffer) => this.#find(directory, name, signal),
      readLink: (link: ExtInode) => this.#linkTarget(link, signal),
    };
    return walkPath(file, source, followsLast);
  }

  async #find(directory: ExtInode, name: Buffer, signal?: AbortSignal): Promise<ExtInode | undefined> {
    for await (const entry of this.#entries(directory, signal)) {
      if (entry.nameBytes.equals(name)) return this.#inode(entry.inodeNumber, signal);
    }
    return undefined;
  }

  async #inode(inodeNumber: number, signal: AbortSignal | undefined): Promise<ExtInode> {
    const { inodeCount, inodesPerGroup, inodeBytes } = this.#superblock;
    if (inodeNumber < 1 || inodeNumber > inodeCount) throw damaged(`inode ${inodeNumber} of ${inodeCount}`);
    const group = Math.floor((inodeNumber - 1) / inodesPerGroup);
    const table = await inodeTableOf(group, this.#superblock, this.#blocks, signal);
    const start = ((inodeNumber - 1) % inodesPerGroup) * inodeBytes;
    const block = table + Math.floor(start / this.#blocks.blockBytes);
    const bytes = await this.#blocks.readPart(block, start % this.#blocks.blockBytes, inodeBytes, signal);
    return decodeInode(inodeNumber, bytes, this.#superblock);
  }

  async #linkTarget(inode: ExtInode, signal: AbortSignal | undefined): Promise<Buffer> {
    const { sizeBytes, inodeNumber } = inode.stat;
    if (sizeBytes === 0 || sizeBytes >= this.#blocks.blockBytes) {
      throw damaged(`the symbolic link inode ${inodeNumber} has ${sizeBytes} bytes`);
    }
    const isShort =
      sizeBytes < SHORT_LINK_BYTES &&
      (inode.flags & (InodeFlag.Extents | InodeFlag.InlineData | InodeFlag.EaInode | InodeFlag.Encrypted)) ===
        0;
    if (isShort) return Buffer.from(inode.block.subarray(0, sizeBytes));
    const parts: Buffer[] = [];
    for await (const chunk of readContent(inode, this.#context(signal), 0, sizeBytes)) {
      parts.push(chunk instanceof Uint8Array ? Buffer.from(chunk) : Buffer.alloc(chunk.zeroBytes));
    }
    return Buffer.concat(parts);
  }
}

function nameOf(file: FileRef): string {
  if (typeof file === 'string') return `"${file}"`;
  return file instanceof Uint8Array ? `"${Buffer.from(file).toString('utf8')}"` : `inode ${file.inodeNumber}`;
}
