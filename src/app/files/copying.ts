import { lstat, mkdir, realpath, stat as statOf } from 'node:fs/promises';
import { damaged } from '../../files/file-error.js';
import { FileKind, type FileStat, type Filesystem } from '../../files/filesystem.js';
import { EnvironmentError, messageOf, SnapnbdError, systemCodeOf } from '../../util/errors.js';
import { Limiter } from '../../util/limiter.js';
import { systemReason } from '../../util/system-reason.js';
import { AttributeKeeper } from './attribute-keeping.js';
import {
  applyMetadata,
  isSpecial,
  writeFile,
  writeHardLink,
  writeLink,
  type WriteContext,
} from './file-writing.js';
import { InodeSet } from './inode-set.js';
import { shownName } from './shown-name.js';

/** Files whose content is copied: each may wait for a block of its own; together they take some 64 MiB at most. */
const CONTENTS_AT_ONCE_MAX = 8;
/** With those that are waited for otherwise: a program sets the attributes of many files in the time of one. */
const FILES_AT_ONCE_MAX = 64;
/** Names of files with several, by which the others find them. More are copied as files of their own. */
const LINKED_FILES_MAX = 1_000_000;

/** How far a copy has come. */
export interface CopyProgress {
  readonly fileCount: number;
  readonly bytes: number;
  /** The path in the snapshot. */
  readonly current: string;
}

/** What is copied, and where to. */
export interface CopyTask {
  readonly filesystem: Filesystem;
  /** In the snapshot. */
  readonly paths: readonly string[];
  /** A directory that is there, or the name for a single file or directory. */
  readonly destination: string;
  readonly isRecursive: boolean;
  readonly isForced: boolean;
  /** Default: true when this process is root. */
  readonly keepsOwners?: boolean;
  /** What was left out or failed, in one line; the rest goes on. */
  readonly onProblem: (line: string) => void;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

/** What came of a copy. */
export interface CopyResult {
  readonly fileCount: number;
  readonly bytes: number;
  /** Files that could not be copied. */
  readonly failureCount: number;
  /** Devices, sockets and pipes: they are left out. */
  readonly skippedCount: number;
  /** Files that were copied without all of their extended attributes. */
  readonly attributesLostCount: number;
}

/**
 * Copies files out of a filesystem. Nothing is written outside of the destination, whatever names and links the image
 * has: names come without slashes, every directory that is entered is checked to be one rather than a link, and files
 * appear under names that are new, by a link or rename that follows nothing.
 *
 * @throws {EnvironmentError} when the destination cannot be used; other failures are told and counted.
 */
export async function copyFiles(task: CopyTask): Promise<CopyResult> {
  const { filesystem, paths, destination, isForced, signal } = task;
  const into = await existingDirectory(destination);
  if (into === undefined && paths.length > 1) {
    throw new EnvironmentError(
      `Cannot copy several files to "${destination}": it is no directory that is there.`,
    );
  }
  const keepsOwners = task.keepsOwners ?? process.getuid?.() === 0;
  const attributes = new AttributeKeeper(filesystem, keepsOwners);
  const copier = new Copier(task, into ?? destination, {
    filesystem,
    isForced,
    keepsOwners,
    attributes,
    contents: new Limiter(CONTENTS_AT_ONCE_MAX),
    onBytes: (lengthBytes) => copier.addBytes(lengthBytes),
    signal,
  });
  for (const path of paths) {
    await copier.attempt(path, async () => {
      const options = signal === undefined ? {} : { signal };
      const found = await filesystem.stat(path, { ...options, followsLast: false });
      const name = Buffer.from(path)
        .toString('utf8')
        .split('/')
        .findLast((part) => part !== '' && part !== '.');
      if (name === '..') throw new EnvironmentError(`Cannot copy "${path}": name what it leads to.`);
      // The content of the root goes into the destination itself.
      const isWhole = name === undefined;
      const target = into !== undefined && !isWhole ? `${into}/${name}` : (into ?? destination);
      await copier.copy(found, Buffer.from(target), Buffer.from(path));
    });
  }
  if (attributes.summary !== undefined) task.onProblem(attributes.summary);
  return copier.result();
}

async function existingDirectory(path: string): Promise<string | undefined> {
  try {
    // A link that the user names is the user's own to follow; from there on none is.
    return (await statOf(path)).isDirectory() ? await realpath(path) : undefined;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw new EnvironmentError(`Cannot copy to "${path}": ${systemReason(error)}.`, { cause: error });
  }
}

class Copier {
  readonly #task: CopyTask;
  readonly #context: WriteContext;
  readonly #destination: Buffer;
  readonly #entered = new InodeSet();
  /** Where the first name of a file with several was written; resolves without a path when that failed. */
  readonly #linked = new Map<number, Promise<Buffer | undefined>>();
  #fileCount = 0;
  #bytes = 0;
  #failureCount = 0;
  #skippedCount = 0;
  #current = '';

  /** @param destination where to, without links. */
  constructor(task: CopyTask, destination: string, context: WriteContext) {
    this.#task = task;
    this.#destination = Buffer.from(destination);
    this.#context = context;
  }

  addBytes(lengthBytes: number): void {
    this.#bytes += lengthBytes;
    this.#task.onProgress?.({ fileCount: this.#fileCount, bytes: this.#bytes, current: this.#current });
  }

  result(): CopyResult {
    return {
      fileCount: this.#fileCount,
      bytes: this.#bytes,
      failureCount: this.#failureCount,
      skippedCount: this.#skippedCount,
      attributesLostCount: this.#context.attributes.lostCount,
    };
  }

  /** Does something about one path; what goes wrong is told and counted. */
  async attempt(path: string, work: () => Promise<void>): Promise<boolean> {
    try {
      this.#task.signal?.throwIfAborted();
      await work();
      return true;
    } catch (error) {
      this.#task.signal?.throwIfAborted();
      if (!(error instanceof SnapnbdError) && systemCodeOf(error) === undefined) throw error;
      this.#failureCount += 1;
      const reason = error instanceof SnapnbdError ? messageOf(error) : `${systemReason(error)}.`;
      this.#task.onProblem(`${path}: ${reason}`);
      return false;
    }
  }

  async copy(stat: FileStat, target: Buffer, path: Buffer): Promise<void> {
    this.#current = shownName(path);
    if (isSpecial(stat)) {
      this.#skippedCount += 1;
      this.#task.onProblem(`${this.#current}: skipped, it is a ${stat.kind}.`);
      return;
    }
    if (stat.kind === FileKind.Directory) {
      await this.#copyDirectory(stat, target, path);
      return;
    }
    await this.#copyFile(stat, target);
    this.#fileCount += 1;
    this.addBytes(0);
  }

  async #copyFile(stat: FileStat, target: Buffer): Promise<void> {
    if (stat.kind === FileKind.Symlink) {
      await writeLink(target, stat, this.#context);
      return;
    }
    if (stat.linkCount < 2) {
      await writeFile(target, stat, this.#context);
      return;
    }
    const earlier = this.#linked.get(stat.inodeNumber);
    const first = earlier === undefined ? undefined : await earlier;
    if (first !== undefined) {
      await writeHardLink(target, first, this.#context);
      return;
    }
    const writing = writeFile(target, stat, this.#context);
    if (this.#linked.size < LINKED_FILES_MAX) {
      const written = writing.then(
        () => target,
        () => undefined,
      );
      this.#linked.set(stat.inodeNumber, written);
    }
    await writing;
  }

  async #copyDirectory(stat: FileStat, target: Buffer, path: Buffer): Promise<void> {
    const { filesystem, isRecursive, isForced, signal } = this.#task;
    if (!isRecursive) {
      throw new EnvironmentError('it is a directory, which -r copies with all that is in it.');
    }
    if (!this.#entered.add(stat.inodeNumber))
      throw damaged(`directory inode ${stat.inodeNumber} is in two places`);
    const isNew = await makeDirectory(target);
    const options = signal === undefined ? {} : { signal };
    const running = new Set<Promise<boolean>>();
    try {
      for await (const entry of filesystem.readDirectory(stat, options)) {
        const { nameBytes, kind } = entry;
        const childPath = Buffer.concat([path, Buffer.from(path.at(-1) === 0x2f ? '' : '/'), nameBytes]);
        const childTarget = Buffer.concat([target, Buffer.from('/'), nameBytes]);
        const work = this.attempt(shownName(childPath), async () => {
          await this.copy(await filesystem.stat(entry, options), childTarget, childPath);
        });
        running.add(work);
        const forget = (): unknown => running.delete(work);
        work.then(forget, forget);
        // Directories one after another, so that a deep tree does not open up all at once.
        if (kind === FileKind.Directory) await work;
        if (running.size >= FILES_AT_ONCE_MAX) await Promise.race(running);
      }
    } finally {
      await Promise.all(running);
      // At last: what was written into it has changed its times, and its mode may forbid writing. One that is there may be
      // what a copy that was killed has left; the destination itself is the user's own.
      const isOwn = isNew || (isForced && !target.equals(this.#destination));
      if (isOwn) await applyMetadata(target, stat, this.#context);
    }
  }
}

/** @returns false when it was there. @throws {EnvironmentError} when something else is in its place, a link as well. */
async function makeDirectory(target: Buffer): Promise<boolean> {
  try {
    await mkdir(target, { mode: 0o700 });
    return true;
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  }
  if ((await lstat(target)).isDirectory()) return false;
  throw new EnvironmentError(
    `Cannot make the directory ${shownName(target)}: something else is in its place.`,
  );
}
