import { randomBytes } from 'node:crypto';
import { chmod, lchown, link, lstat, lutimes, open, rename, symlink, unlink, utimes } from 'node:fs/promises';
import type { FileStat, Filesystem } from '../../files/filesystem.js';
import { FileKind } from '../../files/filesystem.js';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import type { AttributeKeeper } from './attribute-keeping.js';
import type { Limiter } from '../../util/limiter.js';
import { writeWhole } from '../../util/whole-write.js';
import { shownName } from './shown-name.js';

/** How files are written. */
export interface WriteContext {
  readonly filesystem: Filesystem;
  /** Replace files that are there. Directories are never replaced, and links are never followed. */
  readonly isForced: boolean;
  /** Root keeps the owners. */
  readonly keepsOwners: boolean;
  /** Keeps the extended attributes. */
  readonly attributes: AttributeKeeper;
  /** How many contents are written at once. */
  readonly contents: Limiter;
  /** Called with what was written, in bytes, holes included. */
  readonly onBytes: (lengthBytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** Without the owner they would lend somebody else's rights. */
const OWNER_BITS = 0o6000;

/** Copies a regular file: under a temporary name first, holes left out, then with its mode, owner and times. */
export async function writeFile(target: Buffer, stat: FileStat, context: WriteContext): Promise<void> {
  await putInPlace(target, context, async (temporary) => {
    await context.contents.run(() => writeContent(temporary, stat, context), undefined, context.signal);
    await applyMetadata(temporary, stat, context);
  });
}

async function writeContent(
  temporary: Buffer,
  stat: FileStat,
  { filesystem, signal, onBytes }: WriteContext,
): Promise<void> {
  // Exclusive: it is never something that is there already, nor what a link leads to.
  const file = await open(temporary, 'wx', 0o600);
  try {
    let at = 0;
    for await (const chunk of filesystem.readFile(stat, signal === undefined ? {} : { signal })) {
      if (chunk instanceof Uint8Array) {
        await writeWhole(file, chunk, at);
        at += chunk.length;
        onBytes(chunk.length);
      } else {
        at += chunk.zeroBytes;
        onBytes(chunk.zeroBytes);
      }
    }
    await file.truncate(stat.sizeBytes);
  } finally {
    await file.close();
  }
}

/** Makes a symbolic link, whatever it leads to: it is not followed here. */
export async function writeLink(target: Buffer, stat: FileStat, context: WriteContext): Promise<void> {
  const leadsTo = await context.filesystem.readLink(stat);
  await putInPlace(target, context, async (temporary) => {
    await symlink(leadsTo, temporary);
    if (context.keepsOwners) await lchown(temporary, stat.uid, stat.gid);
    await context.attributes.keep(stat, temporary, context.signal);
    await lutimes(temporary, secondsOf(stat.accessTime), secondsOf(stat.modifyTime));
  });
}

/** Gives a file that was copied another name. */
export async function writeHardLink(target: Buffer, existing: Buffer, context: WriteContext): Promise<void> {
  await putInPlace(target, context, (temporary) => link(existing, temporary));
}

/**
 * Owner, attributes, mode and times, in this order: a change of the owner takes away attributes, and a mode may forbid
 * to set them. Times are kept to a quarter of a microsecond.
 */
export async function applyMetadata(
  path: Buffer,
  stat: FileStat,
  { keepsOwners, attributes, signal }: Pick<WriteContext, 'keepsOwners' | 'attributes' | 'signal'>,
): Promise<void> {
  if (keepsOwners) await lchown(path, stat.uid, stat.gid);
  await attributes.keep(stat, path, signal);
  await chmod(path, keepsOwners ? stat.mode : stat.mode & ~OWNER_BITS);
  await utimes(path, secondsOf(stat.accessTime), secondsOf(stat.modifyTime));
}

/** As text, since Node.js takes a number below zero, a time before 1970, for the present. */
function secondsOf({ seconds, nanoseconds }: FileStat['modifyTime']): string {
  return String(seconds + nanoseconds / 1e9);
}

/** Makes something under a temporary name beside its target and renames it, so that what is there is always whole. */
async function putInPlace(
  target: Buffer,
  { isForced }: Pick<WriteContext, 'isForced'>,
  make: (temporary: Buffer) => Promise<void>,
): Promise<void> {
  await refuseExisting(target, isForced);
  const slash = target.lastIndexOf(0x2f);
  const name = `.snapnbd-${randomBytes(6).toString('hex')}`;
  const temporary = Buffer.concat([target.subarray(0, slash + 1), Buffer.from(name)]);
  try {
    await make(temporary);
    // A link refuses a name that has come into being since; a rename would replace it.
    if (isForced) await rename(temporary, target);
    else {
      await linkOrRename(temporary, target);
    }
  } finally {
    await unlink(temporary).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    });
  }
}

/** Filesystems without hard links are left with a rename. */
async function linkOrRename(temporary: Buffer, target: Buffer): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') throw existing(target);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'EMLINK') throw error;
    await refuseExisting(target, false);
    await rename(temporary, target);
  }
}

async function refuseExisting(target: Buffer, isForced: boolean): Promise<void> {
  const there = await lstat(target).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there === undefined) return;
  if (there.isDirectory()) {
    throw new EnvironmentError(`Cannot write ${shownName(target)}: a directory of that name is there.`);
  }
  if (!isForced) throw existing(target);
}

function existing(target: Buffer): EnvironmentError {
  return new EnvironmentError(
    `Cannot write ${shownName(target)}: it is there already. Remove it, or replace it with --force.`,
  );
}

/** What a special file is, for the line that says that it is skipped. */
export function isSpecial({ kind }: FileStat): boolean {
  return kind !== FileKind.File && kind !== FileKind.Directory && kind !== FileKind.Symlink;
}
