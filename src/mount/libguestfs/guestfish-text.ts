import { unsupported } from '../../files/file-error.js';
import type { MountedStat } from '../mounted-stat.js';

/** guestfish reads its commands into a buffer of 8 KiB each. */
const COMMAND_BYTES_MAX = 8000;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DELETE = 0x7f;

/** What the C library says, for each error that means something to whoever reads files. */
const CODES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT',
  'Not a directory': 'ENOTDIR',
  'Is a directory': 'EISDIR',
  'Too many levels of symbolic links': 'ELOOP',
  'Invalid argument': 'EINVAL',
  'Permission denied': 'EACCES',
  'Operation not supported': 'ENOTSUP',
};

/** A command of guestfish has failed. */
export class GuestfishError extends Error {
  override readonly name = 'GuestfishError';
  /** As of a system error; `EIO` where it is none that is known. */
  readonly code: string;

  /** @param complaint what guestfish wrote about it. */
  constructor(complaint: string) {
    const reason = reasonOf(complaint);
    super(reason);
    this.code = CODES[reason] ?? 'EIO';
  }
}

/** `libguestfs: error: lstatns: /path: No such file or directory`: the path may be any bytes. */
function reasonOf(complaint: string): string {
  const last = complaint.trim().split(': ').at(-1) ?? '';
  return last.replace(/[^ -~]/g, '?') || 'libguestfs says nothing';
}

/**
 * An argument of a command of guestfish: any bytes but NUL, in double quotes. [guestfish(1): ESCAPE SEQUENCES IN DOUBLE
 * QUOTED ARGUMENTS]
 *
 * @returns a character for each byte.
 * @throws {FileError} `ENOTSUP` where it is longer than guestfish takes.
 */
export function quoted(bytes: Buffer): string {
  let text = '';
  for (const byte of bytes) {
    const isPlain = byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH && byte !== DELETE;
    text += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  if (text.length > COMMAND_BYTES_MAX)
    throw unsupported('Cannot read a file whose path is that long by libguestfs.');
  return `"${text}"`;
}

/** Reads what `lstatns` writes. @returns undefined for what is something else. */
export function parseStat(text: string): MountedStat | undefined {
  const fields = new Map<string, bigint>();
  for (const [, name = '', value = ''] of text.matchAll(/^st_(\w+): (-?\d+)$/gm))
    fields.set(name, BigInt(value));
  const of = (name: string): bigint => fields.get(name) ?? 0n;
  const timeOf = (name: string): bigint => of(`${name}_sec`) * 1_000_000_000n + of(`${name}_nsec`);
  if (!['dev', 'ino', 'mode', 'size', 'mtime_sec'].every((name) => fields.has(name))) return undefined;
  return {
    // Printed with a sign, and without one in the kernel.
    dev: BigInt.asUintN(64, of('dev')),
    ino: BigInt.asUintN(64, of('ino')),
    mode: of('mode'),
    nlink: of('nlink'),
    uid: of('uid'),
    gid: of('gid'),
    rdev: BigInt.asUintN(64, of('rdev')),
    size: of('size'),
    blocks: of('blocks'),
    atimeNs: timeOf('atime'),
    mtimeNs: timeOf('mtime'),
    ctimeNs: timeOf('ctime'),
    birthtimeNs: 0n,
  };
}

/** An attribute as `lgetxattrs` lists it. */
export interface ListedAttribute {
  readonly name: Buffer;
  /** Undefined where the bytes cannot be told from how they are written: `\x41` is four characters or one byte. */
  readonly value: Buffer | undefined;
}

/** Reads what `lgetxattrs` writes, with a character for each byte. */
export function parseAttributes(text: string): readonly ListedAttribute[] {
  const found = text.matchAll(/^ {2}attrname: (.*)\n {2}attrval: (.*)\n\}$/gm);
  return [...found].map(([, name = '', value = '']) => ({
    name: Buffer.from(name, 'latin1'),
    value: value.includes('\\') ? undefined : Buffer.from(value, 'latin1'),
  }));
}
