import { FileError, FileErrorCode } from './file-error.js';
import { FileKind, type FileStat } from './filesystem.js';

/** As Linux: more links than these on the way to a file are taken for a circle. */
const LINKS_MAX = 40;
/** As Linux (`PATH_MAX`), for what is left of a path with the links in it written out. */
const PATH_BYTES_MAX = 65_536;
const SLASH = 0x2f;

/** A file that a walk comes by. */
export interface WalkedFile {
  readonly stat: FileStat;
}

/** What a walk asks of the filesystem. */
export interface PathSource<File extends WalkedFile> {
  root(): Promise<File>;
  /** What a directory has under a name. */
  find(directory: File, name: Buffer): Promise<File | undefined>;
  readLink(link: File): Promise<Buffer>;
}

/**
 * Walks a path from the root. `..` leads to the directory that the walk came from rather than to what the disk says is
 * the parent, and at the root it stays there.
 *
 * @throws {FileError} `ENOENT`, `ENOTDIR`, or `ELOOP`.
 */
export async function walkPath<File extends WalkedFile>(
  path: string | Uint8Array,
  source: PathSource<File>,
  followsLast: boolean,
): Promise<File> {
  const shown = typeof path === 'string' ? path : Buffer.from(path).toString('utf8');
  const rest = partsOf(Buffer.from(path));
  const root = await source.root();
  let trail: readonly File[] = [root];
  let linkCount = 0;
  while (rest.length > 0) {
    const name = rest.shift() ?? Buffer.alloc(0);
    const directory = trail.at(-1) ?? root;
    if (directory.stat.kind !== FileKind.Directory) {
      throw new FileError(
        FileErrorCode.NotDirectory,
        `Cannot find "${shown}": a part of it is no directory.`,
      );
    }
    const text = name.toString('latin1');
    if (text === '.') continue;
    if (text === '..') {
      if (trail.length > 1) trail = trail.slice(0, -1);
      continue;
    }
    const found = await source.find(directory, name);
    if (found === undefined) {
      throw new FileError(FileErrorCode.NotFound, `Cannot find "${shown}": there is no such file.`);
    }
    const isFollowed = found.stat.kind === FileKind.Symlink && (rest.length > 0 || followsLast);
    if (!isFollowed) {
      trail = [...trail, found];
      continue;
    }
    linkCount += 1;
    const target = await source.readLink(found);
    rest.unshift(...partsOf(target));
    if (linkCount > LINKS_MAX || lengthOf(rest) > PATH_BYTES_MAX) {
      throw new FileError(FileErrorCode.TooManyLinks, `Cannot find "${shown}": too many symbolic links.`);
    }
    if (target[0] === SLASH) trail = [root];
  }
  return trail.at(-1) ?? root;
}

/** The names in a path. A slash at the end asks for a directory, as `.` behind it does. */
function partsOf(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = 0; at <= path.length; at += 1) {
    if (at < path.length && path[at] !== SLASH) continue;
    if (at > start) parts.push(path.subarray(start, at));
    start = at + 1;
  }
  if (parts.length > 0 && path.at(-1) === SLASH) parts.push(Buffer.from('.'));
  return parts;
}

function lengthOf(parts: readonly Buffer[]): number {
  return parts.reduce((sum, part) => sum + part.length + 1, 0);
}
