import { damaged } from '../file-error.js';

/** The versions of access control lists on the disk, and as system calls have them. */
const DISK_VERSION = 1;
const CALL_VERSION = 2;

/** Entries for a user or a group who is named have an id; those for all others have none. */
const Tag = { User: 2, Group: 8 } as const;
const NO_ID = 0xffffffff;

/**
 * An access control list of the disk as the value of `system.posix_acl_access` (fs/ext4/acl.h and
 * include/uapi/linux/posix_acl_xattr.h of Linux): on the disk, ids are left out where there are none.
 *
 * @throws {FileError} `EIO` for one that is cut off, or of another version.
 */
export function aclValue(disk: Buffer): Buffer {
  if (disk.length < 4 || disk.readUInt32LE(0) !== DISK_VERSION) throw notAList();
  const version = Buffer.alloc(4);
  version.writeUInt32LE(CALL_VERSION);
  const parts = [version];
  for (let at = 4; at < disk.length;) {
    if (at + 4 > disk.length) throw notAList();
    const tag = disk.readUInt16LE(at);
    const hasId = tag === Tag.User || tag === Tag.Group;
    if (hasId && at + 8 > disk.length) throw notAList();
    const entry = Buffer.alloc(8);
    disk.copy(entry, 0, at, at + 4);
    entry.writeUInt32LE(hasId ? disk.readUInt32LE(at + 4) : NO_ID, 4);
    parts.push(entry);
    at += hasId ? 8 : 4;
  }
  return Buffer.concat(parts);
}

function notAList(): Error {
  return damaged('an access control list is none');
}
