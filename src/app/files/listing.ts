import { damaged, FileError } from '../../files/file-error.js';
import { FileKind, type FileStat, type Filesystem } from '../../files/filesystem.js';
import { messageOf } from '../../util/errors.js';
import { InodeSet } from './inode-set.js';

/** A file that is listed. */
export interface ListedFile {
  /** From the root of the filesystem or from what was asked for, as bytes. */
  readonly path: Buffer;
  readonly stat: FileStat;
  /** Of a symbolic link. */
  readonly target: Buffer | undefined;
}

/** How a directory is listed. */
export interface ListTask {
  readonly filesystem: Filesystem;
  readonly path: string;
  /** With all that is beneath. */
  readonly isRecursive: boolean;
  /** What cannot be listed, in one line; the rest goes on. */
  readonly onProblem: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lists a directory, or the one file that the path names. Each directory is entered once, so that a damaged tree with
 * circles in it comes to an end.
 *
 * @throws {FileError} when the path itself cannot be found or read.
 */
export async function* listFiles(task: ListTask): AsyncGenerator<ListedFile> {
  const { filesystem, path } = task;
  const options = task.signal === undefined ? {} : { signal: task.signal };
  const own = await filesystem.stat(path, { ...options, followsLast: false });
  const stat = own.kind === FileKind.Symlink ? await followed(task, own) : own;
  if (stat.kind !== FileKind.Directory) {
    yield { path: Buffer.from(path), stat: own, target: await targetOf(filesystem, own) };
    return;
  }
  const entered = new InodeSet();
  entered.add(stat.inodeNumber);
  yield* listDirectory(stat, Buffer.alloc(0), entered, task);
}

async function* listDirectory(
  directory: FileStat,
  prefix: Buffer,
  entered: InodeSet,
  task: ListTask,
): AsyncGenerator<ListedFile> {
  const { filesystem, isRecursive, onProblem, signal } = task;
  const options = signal === undefined ? {} : { signal };
  for await (const entry of filesystem.readDirectory(directory, options)) {
    const { nameBytes, inodeNumber } = entry;
    const path = prefix.length === 0 ? nameBytes : Buffer.concat([prefix, Buffer.from('/'), nameBytes]);
    let listed: ListedFile;
    try {
      const stat = await filesystem.stat(entry, options);
      listed = { path, stat, target: await targetOf(filesystem, stat) };
    } catch (error) {
      signal?.throwIfAborted();
      onProblem(messageOf(error));
      continue;
    }
    yield listed;
    if (!isRecursive || listed.stat.kind !== FileKind.Directory) continue;
    try {
      if (!entered.add(inodeNumber)) throw damaged(`directory inode ${inodeNumber} is in two places`);
      yield* listDirectory(listed.stat, path, entered, task);
    } catch (error) {
      signal?.throwIfAborted();
      onProblem(messageOf(error));
    }
  }
}

/** What a link leads to; the link itself where that leads nowhere. */
async function followed({ filesystem, path, signal }: ListTask, link: FileStat): Promise<FileStat> {
  try {
    return await filesystem.stat(path, signal === undefined ? {} : { signal });
  } catch (error) {
    if (error instanceof FileError) return link;
    throw error;
  }
}

async function targetOf(filesystem: Filesystem, stat: FileStat): Promise<Buffer | undefined> {
  return stat.kind === FileKind.Symlink ? filesystem.readLink(stat) : undefined;
}
