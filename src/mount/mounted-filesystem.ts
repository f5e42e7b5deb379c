import { join } from 'node:path';
import type { ReadChunk } from '../device/block-device.js';
import { FileError, FileErrorCode } from '../files/file-error.js';
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
} from '../files/filesystem.js';
import { walkPath, type WalkedFile } from '../files/path-walk.js';
import type { VolumeContents } from '../files/recognition/contents.js';
import { assert } from '../util/assert.js';
import { systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';
import { MountedFolder, type MountedFiles } from './mounted-files.js';
import { InodeNumbers, statOf } from './mounted-stat.js';

/** Zeros of this length and alignment are handed out as holes, where a file has any. */
const HOLE_BYTES = 4096;
const ZEROS = Buffer.alloc(HOLE_BYTES);
const SLASH = Buffer.from('/');

interface MountedFile extends WalkedFile {
  /** On this machine. */
  readonly place: Buffer;
}

/**
 * A filesystem that a kernel has mounted read-only, as {@link Filesystem}. Its links are followed here rather than by
 * the kernel, so that an absolute one leads to its own root and not to that of this machine.
 */
export class MountedFilesystem implements Filesystem {
  readonly type: string;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  /** The kernel replays no journal of a disk that cannot be written. */
  readonly journalBlockCount = 0;
  readonly rootInodeNumber: number;
  readonly #files: MountedFiles;
  readonly #root: MountedFile;
  readonly #inodeNumbers: InodeNumbers;
  /** Where that is which was handed out. */
  readonly #places = new WeakMap<object, Buffer>();

  constructor(
    files: MountedFiles,
    root: MountedFile,
    contents: VolumeContents | undefined,
    inodeNumbers: InodeNumbers,
  ) {
    this.#files = files;
    this.#root = root;
    this.#inodeNumbers = inodeNumbers;
    this.rootInodeNumber = root.stat.inodeNumber;
    this.type = contents?.type ?? '';
    this.label = contents?.label;
    this.uuid = contents?.uuid;
  }

  async stat(file: FileRef, { followsLast = true }: PathOptions = {}): Promise<FileStat> {
    const { stat, place } = await this.#resolve(file, followsLast);
    this.#places.set(stat, place);
    return stat;
  }

  async *readDirectory(file: FileRef, { signal }: FileOptions = {}): AsyncGenerator<DirectoryEntry> {
    const directory = await this.#resolve(file, true);
    if (directory.stat.kind !== FileKind.Directory) {
      throw new FileError(
        FileErrorCode.NotDirectory,
        `Cannot list ${this.#nameOf(directory.place)}: it is no directory.`,
      );
    }
    try {
      for await (const nameBytes of this.#files.names(directory.place)) {
        signal?.throwIfAborted();
        const place = Buffer.concat([directory.place, SLASH, nameBytes]);
        // Of what cannot be read, whoever asks for it is told.
        const stat = await this.#lookAt(place).catch(() => undefined);
        const entry = {
          ...{ nameBytes, name: nameBytes.toString('utf8') },
          ...{ inodeNumber: stat?.inodeNumber ?? 0, kind: stat?.kind },
        };
        this.#places.set(entry, place);
        yield entry;
      }
    } catch (error) {
      throw this.#failure(directory.place, error);
    }
  }

  async *readFile(file: FileRef, options: ReadOptions = {}): AsyncGenerator<ReadChunk> {
    const { offset = 0, lengthBytes = Number.MAX_SAFE_INTEGER, signal } = options;
    const { stat, place } = await this.#resolve(file, true);
    if (stat.kind === FileKind.Directory) {
      throw new FileError(
        FileErrorCode.IsDirectory,
        `Cannot read ${this.#nameOf(place)}: it is a directory.`,
      );
    }
    if (stat.kind !== FileKind.File) {
      throw new FileError(
        FileErrorCode.WrongKind,
        `Cannot read ${this.#nameOf(place)}: it is no regular file.`,
      );
    }
    const end = offset + Math.min(lengthBytes, Math.max(0, stat.sizeBytes - offset));
    const isSparse = stat.allocatedBytes < stat.sizeBytes;
    try {
      let at = offset;
      for await (const chunk of this.#files.read(place, offset, end - offset)) {
        signal?.throwIfAborted();
        at += chunk.length;
        if (isSparse) yield* withHoles(chunk);
        else yield chunk;
      }
      if (at < end)
        throw new FileError(FileErrorCode.Damaged, `Cannot read ${this.#nameOf(place)}: it ends too early.`);
    } catch (error) {
      throw this.#failure(place, error);
    }
  }

  async readLink(file: FileRef): Promise<Buffer> {
    const { stat, place } = await this.#resolve(file, false);
    if (stat.kind !== FileKind.Symlink) {
      throw new FileError(
        FileErrorCode.WrongKind,
        `Cannot read ${this.#nameOf(place)} as a link: it is none.`,
      );
    }
    return this.#linkTarget(place);
  }

  async readAttributes(file: FileRef): Promise<readonly FileAttribute[] | undefined> {
    const { place } = await this.#resolve(file, false);
    try {
      return await this.#files.attributes(place);
    } catch (error) {
      throw this.#failure(place, error);
    }
  }

  async #resolve(file: FileRef, followsLast: boolean): Promise<MountedFile> {
    if (typeof file !== 'string' && !(file instanceof Uint8Array)) {
      const place = this.#places.get(file);
      assert(place !== undefined, 'a file that this filesystem has handed out');
      return { place, stat: await this.#lookAt(place) };
    }
    const source = {
      root: () => Promise.resolve(this.#root),
      find: (directory: MountedFile, name: Buffer) => this.#find(directory, name),
      readLink: ({ place }: MountedFile) => this.#linkTarget(place),
    };
    return walkPath(file, source, followsLast);
  }

  async #find(directory: MountedFile, name: Buffer): Promise<MountedFile | undefined> {
    const place = Buffer.concat([directory.place, SLASH, name]);
    try {
      return { place, stat: await this.#lookAt(place) };
    } catch (error) {
      if (error instanceof FileError && error.code === FileErrorCode.NotFound) return undefined;
      throw error;
    }
  }

  async #lookAt(place: Buffer): Promise<FileStat> {
    try {
      return statOf(await this.#files.stat(place), this.#inodeNumbers);
    } catch (error) {
      throw this.#failure(place, error);
    }
  }

  async #linkTarget(place: Buffer): Promise<Buffer> {
    try {
      return await this.#files.readLink(place);
    } catch (error) {
      throw this.#failure(place, error);
    }
  }

  #failure(place: Buffer, error: unknown): unknown {
    const code = systemCodeOf(error);
    if (code === undefined || error instanceof FileError) return error;
    const known = Object.values(FileErrorCode).find((each) => each === code) ?? FileErrorCode.Damaged;
    const message = `Cannot read ${this.#nameOf(place)}: ${systemReason(error)}.`;
    return new FileError(known, message, { cause: error });
  }

  /** Its path in the snapshot, with nothing in it that steers a terminal. */
  #nameOf(place: Buffer): string {
    return JSON.stringify(join('/', place.subarray(this.#root.place.length).toString('utf8')));
  }
}

/** Opens what is mounted on a directory. @throws a system error when it cannot be looked at. */
export function openMounted(
  directory: string,
  contents: VolumeContents | undefined,
): Promise<MountedFilesystem> {
  return openMountedFiles(new MountedFolder(), Buffer.from(directory), contents);
}

/**
 * Opens what is mounted, wherever that is.
 *
 * @param place of the root, without a slash at its end.
 * @throws what `files` throws when it cannot be looked at.
 */
export async function openMountedFiles(
  files: MountedFiles,
  place: Buffer,
  contents: VolumeContents | undefined,
): Promise<MountedFilesystem> {
  const found = await files.stat(place);
  const inodeNumbers = new InodeNumbers(found.dev);
  return new MountedFilesystem(files, { place, stat: statOf(found, inodeNumbers) }, contents, inodeNumbers);
}

/** Tells apart what is zeros. */
function* withHoles(chunk: Buffer): Generator<ReadChunk> {
  let start = 0;
  let zeroBytes = 0;
  for (let at = 0; at < chunk.length; at += HOLE_BYTES) {
    const end = Math.min(at + HOLE_BYTES, chunk.length);
    const isZero = chunk.compare(ZEROS, 0, end - at, at, end) === 0;
    if (isZero) {
      if (start < at) yield chunk.subarray(start, at);
      zeroBytes += end - at;
      start = end;
    } else if (zeroBytes > 0) {
      yield { zeroBytes };
      zeroBytes = 0;
    }
  }
  if (start < chunk.length) yield chunk.subarray(start);
  if (zeroBytes > 0) yield { zeroBytes };
}
