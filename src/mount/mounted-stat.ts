import { constants, type BigIntStats } from 'node:fs';
import { FileKind, type FileStat, type FileTime } from '../files/filesystem.js';
import { unsupported } from '../files/file-error.js';

const KINDS: Readonly<Record<number, FileKind>> = {
  [constants.S_IFREG]: FileKind.File,
  [constants.S_IFDIR]: FileKind.Directory,
  [constants.S_IFLNK]: FileKind.Symlink,
  [constants.S_IFCHR]: FileKind.CharacterDevice,
  [constants.S_IFBLK]: FileKind.BlockDevice,
  [constants.S_IFIFO]: FileKind.Fifo,
  [constants.S_IFSOCK]: FileKind.Socket,
};

/** What is asked about a file of a mount, as lstat(2) has it. */
export type MountedStat = Pick<
  BigIntStats,
  | 'dev'
  | 'ino'
  | 'mode'
  | 'nlink'
  | 'uid'
  | 'gid'
  | 'rdev'
  | 'size'
  | 'blocks'
  | 'atimeNs'
  | 'mtimeNs'
  | 'ctimeNs'
  | 'birthtimeNs'
>;

/** Inode numbers beneath this one are told apart from those of other subvolumes. */
const INODES_MAX = 2 ** 40;
const SUBVOLUMES_MAX = 2 ** 13;

/** One number for each file of a mount: the subvolumes of btrfs are devices of their own, with the same inode numbers. */
export class InodeNumbers {
  readonly #devices = new Map<bigint, number>();

  /** @param root the device whose numbers stay as they are. */
  constructor(root: bigint) {
    this.#devices.set(root, 0);
  }

  /** @throws {FileError} `ENOTSUP` beyond 8192 subvolumes, or for numbers that cannot be kept apart. */
  of({ dev, ino }: Pick<MountedStat, 'dev' | 'ino'>): number {
    const deviceIndex = this.#devices.get(dev) ?? this.#devices.size;
    const isKept = deviceIndex === 0 ? ino <= Number.MAX_SAFE_INTEGER : ino < INODES_MAX;
    if (!isKept || deviceIndex >= SUBVOLUMES_MAX) {
      throw unsupported(`Cannot tell inode ${ino} of the ${deviceIndex + 1}th subvolume from others.`);
    }
    this.#devices.set(dev, deviceIndex);
    return deviceIndex * INODES_MAX + Number(ino);
  }
}

/** What the kernel tells of a file of a mount. */
export function statOf(found: MountedStat, inodeNumbers: InodeNumbers): FileStat {
  const mode = Number(found.mode);
  const kind = KINDS[mode & constants.S_IFMT] ?? FileKind.File;
  return {
    inodeNumber: inodeNumbers.of(found),
    kind,
    mode: mode & 0o7777,
    uid: Number(found.uid),
    gid: Number(found.gid),
    sizeBytes: Number(found.size),
    allocatedBytes: Number(found.blocks) * 512,
    linkCount: Number(found.nlink),
    accessTime: timeOf(found.atimeNs),
    modifyTime: timeOf(found.mtimeNs),
    changeTime: timeOf(found.ctimeNs),
    birthTime: found.birthtimeNs === 0n ? undefined : timeOf(found.birthtimeNs),
    device:
      kind === FileKind.CharacterDevice || kind === FileKind.BlockDevice ? deviceOf(found.rdev) : undefined,
  };
}

function timeOf(nanoseconds: bigint): FileTime {
  const rest = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { seconds: Number((nanoseconds - rest) / 1_000_000_000n), nanoseconds: Number(rest) };
}

/** As the C library packs them: 12 and 20 bits lie apart, in pieces. */
function deviceOf(rdev: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}
