import { setImmediate } from 'node:timers/promises';
import type { Volume } from '../../files/disk-layout.js';
import { FileError } from '../../files/file-error.js';
import { FileKind, type FileStat, type Filesystem } from '../../files/filesystem.js';
import { READABLE_TYPES } from '../../files/open-filesystem.js';
import { BrowseError, type BrowsedEntry, type BrowsedFolder } from '../../http/file-browser.js';
import { shownName } from '../files/shown-name.js';
import { keyOf } from './browsed-names.js';

/** Entries of one page: each costs a look at its inode. */
const PAGE_ENTRIES = 1000;
/** Pages begin no later: each reads the names before it again. */
const FROM_MAX = 1_000_000;
/** Inodes that are looked at together. */
const AT_ONCE = 16;
/** What stands for the whole of a disk without a partition table. */
export const WHOLE_DISK = 'disk';

const KINDS: Readonly<Partial<Record<FileKind, BrowsedEntry['kind']>>> = {
  [FileKind.File]: 'file',
  [FileKind.Directory]: 'folder',
  [FileKind.Symlink]: 'link',
};

/** A part of a disk, as it stands at the top. */
export function volumeEntry({ number, name, range, contents }: Volume): BrowsedEntry {
  const type = contents?.type ?? 'nothing that is known';
  const isReadable = READABLE_TYPES.includes(type);
  const parts = [isReadable ? type : `${type}, not read here`, contents?.label, name];
  return {
    name: number === undefined ? 'whole disk' : `partition ${number}`,
    key: volumeKey(number),
    kind: isReadable ? 'folder' : 'other',
    sizeBytes: range.lengthBytes,
    modifiedMs: null,
    note: parts
      .filter((part) => part !== undefined && part !== '')
      .map((part) => shownName(Buffer.from(part ?? '')))
      .join(', '),
  };
}

/** What stands for a part of a disk in a request. */
export function volumeKey(number: number | undefined): string {
  return number === undefined ? WHOLE_DISK : String(number);
}

/**
 * One page of a directory.
 *
 * @throws {FileError} when it is none, or is damaged; an inode that is damaged is shown as such.
 */
export async function listPage(
  filesystem: Filesystem,
  directory: FileStat,
  from: number,
  signal: AbortSignal,
): Promise<BrowsedFolder> {
  if (from > FROM_MAX) {
    throw new BrowseError(
      400,
      `Cannot list names after the first ${FROM_MAX}: "snapnbd ls" has all of them.`,
    );
  }
  const found: { readonly nameBytes: Buffer; readonly inodeNumber: number }[] = [];
  let index = 0;
  let next: number | null = null;
  for await (const entry of filesystem.readDirectory(directory, { signal })) {
    if (found.length === PAGE_ENTRIES) {
      next = index;
      break;
    }
    if (index >= from) found.push(entry);
    index += 1;
    // What is at hand is read without a pause: the disks have their turn in between.
    if (index % PAGE_ENTRIES === 0) await setImmediate(undefined, { signal });
  }
  found.sort((a, b) => Buffer.compare(a.nameBytes, b.nameBytes));
  const entries: BrowsedEntry[] = [];
  for (let at = 0; at < found.length; at += AT_ONCE) {
    const some = found.slice(at, at + AT_ONCE);
    entries.push(...(await Promise.all(some.map((entry) => entryOf(filesystem, entry, signal)))));
  }
  return { entries, next };
}

async function entryOf(
  filesystem: Filesystem,
  { nameBytes, inodeNumber }: { readonly nameBytes: Buffer; readonly inodeNumber: number },
  signal: AbortSignal,
): Promise<BrowsedEntry> {
  const named = { name: shownName(nameBytes), key: keyOf(nameBytes) };
  try {
    const stat = await filesystem.stat({ inodeNumber }, { signal });
    const kind = KINDS[stat.kind] ?? 'other';
    const { seconds, nanoseconds } = stat.modifyTime;
    const modifiedMs = seconds * 1000 + Math.floor(nanoseconds / 1e6);
    const plain = { ...named, kind, sizeBytes: stat.sizeBytes, modifiedMs };
    if (kind === 'link') return { ...plain, target: shownName(await filesystem.readLink(stat, { signal })) };
    return kind === 'other' ? { ...plain, note: stat.kind } : plain;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { ...named, kind: 'other', sizeBytes: 0, modifiedMs: null, note: error.message };
  }
}
