import type { ReadChunk } from '../device/block-device.js';

/** What kind of file it is. */
export const FileKind = {
  File: 'file',
  Directory: 'directory',
  Symlink: 'symlink',
  CharacterDevice: 'character-device',
  BlockDevice: 'block-device',
  Fifo: 'fifo',
  Socket: 'socket',
} as const;
export type FileKind = (typeof FileKind)[keyof typeof FileKind];

/** A point in time, as exact as filesystems store it. */
export interface FileTime {
  /** Since 1970-01-01T00:00:00Z; negative before. */
  readonly seconds: number;
  /** From 0 to 999,999,999. */
  readonly nanoseconds: number;
}

/** What is known of a file beside its content and its names. */
export interface FileStat {
  readonly inodeNumber: number;
  readonly kind: FileKind;
  /** Permission bits, with set-user-id, set-group-id and sticky: from 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  /** What it takes on the disk, metadata included. */
  readonly allocatedBytes: number;
  /** How many names it has. */
  readonly linkCount: number;
  readonly accessTime: FileTime;
  readonly modifyTime: FileTime;
  readonly changeTime: FileTime;
  /** Undefined where the filesystem does not keep it. */
  readonly birthTime: FileTime | undefined;
  /** Of devices alone. */
  readonly device: { readonly major: number; readonly minor: number } | undefined;
}

/** A name in a directory; `.` and `..` are left out. */
export interface DirectoryEntry {
  /** The name as it is on the disk, 1 to 255 bytes. Never `.`, `..`, or anything with a slash or a zero byte in it. */
  readonly nameBytes: Buffer;
  /** The same as text, with U+FFFD for what is not UTF-8: for people, not for looking the file up again. */
  readonly name: string;
  readonly inodeNumber: number;
  /** Undefined where only the inode tells. */
  readonly kind: FileKind | undefined;
}

/**
 * Which file is meant: a path from the root (text, or bytes where names are not UTF-8; the first slash may be left
 * out), or what `stat` or a directory of the same filesystem gave, which spares the walk along the path.
 */
export type FileRef = string | Uint8Array | Pick<FileStat, 'inodeNumber'>;

/** An extended attribute, as getxattr(2) gives it. */
export interface FileAttribute {
  /** With its namespace: `user.mime_type`, `system.posix_acl_access`. */
  readonly name: Buffer;
  readonly value: Buffer;
}

/** What goes with each question. */
export interface FileOptions {
  readonly signal?: AbortSignal;
}

/** How a path is walked. */
export interface PathOptions extends FileOptions {
  /** Follow a symbolic link that is the last part of the path. Default: true. */
  readonly followsLast?: boolean;
}

/** Which part of a file is read. */
export interface ReadOptions extends FileOptions {
  /** Default: 0. Beyond the end there is nothing to read. */
  readonly offset?: number;
  /** Default, and at most: what is left of the file. */
  readonly lengthBytes?: number;
}

/**
 * A filesystem that is read in this process. Symbolic links are followed inside of it and never lead out: its root is
 * the root of absolute ones. All methods reject with {@link FileError}, or with what the device throws. Any number
 * of calls may be under way at once.
 */
export interface Filesystem {
  /** `ext2`, `ext3` or `ext4`. */
  readonly type: string;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  readonly rootInodeNumber: number;
  /**
   * How many blocks the journal holds newer than the filesystem does, as it was in use when the snapshot was taken.
   * They are read from the journal, so that what is seen is what the filesystem would be after its next mount.
   */
  readonly journalBlockCount: number;
  /** What is known of a file. */
  stat(file: FileRef, options?: PathOptions): Promise<FileStat>;
  /** The names in a directory, in the order of the disk. The names before a damaged place come before the error. */
  readDirectory(file: FileRef, options?: FileOptions): AsyncIterable<DirectoryEntry>;
  /** The content of a regular file in order, exactly as long as asked for; the chunks must not be modified. */
  readFile(file: FileRef, options?: ReadOptions): AsyncIterable<ReadChunk>;
  /** Where a symbolic link leads, as the bytes that it holds. A path is not followed at its last part. */
  readLink(file: FileRef, options?: FileOptions): Promise<Buffer>;
  /**
   * The extended attributes of a file, access control lists among them; a path is not followed at its last part.
   * Undefined where they cannot be read on this machine.
   */
  readAttributes(file: FileRef, options?: FileOptions): Promise<readonly FileAttribute[] | undefined>;
}
