import { FileKind, type FileStat, type FileTime } from '../../files/filesystem.js';
import type { ListedFile } from './listing.js';
import { shownName } from './shown-name.js';

const KIND_LETTERS: Readonly<Record<FileKind, string>> = {
  [FileKind.File]: '-',
  [FileKind.Directory]: 'd',
  [FileKind.Symlink]: 'l',
  [FileKind.CharacterDevice]: 'c',
  [FileKind.BlockDevice]: 'b',
  [FileKind.Fifo]: 'p',
  [FileKind.Socket]: 's',
};

/** One line as `ls -l` writes it, with numbers for the owners (their names are in the snapshot) and times in UTC. */
export function longLine({ path, stat, target }: ListedFile): string {
  const size = stat.device === undefined ? stat.sizeBytes : `${stat.device.major}, ${stat.device.minor}`;
  const columns = [
    KIND_LETTERS[stat.kind] + modeText(stat.mode),
    String(stat.linkCount).padStart(3),
    String(stat.uid).padStart(5),
    String(stat.gid).padStart(5),
    String(size).padStart(11),
    isoTime(stat.modifyTime).replace(/\.\d+Z$/, 'Z'),
    shownName(path) + (target === undefined ? '' : ` -> ${shownName(target)}`),
  ];
  return columns.join(' ');
}

/** The same as an object for programs, on one line. */
export function jsonLine({ path, stat, target }: ListedFile): string {
  return JSON.stringify({
    path: path.toString('utf8'),
    // Only where the text does not say it all.
    ...(Buffer.from(path.toString('utf8')).equals(path) ? {} : { pathHex: path.toString('hex') }),
    kind: stat.kind,
    inode: stat.inodeNumber,
    mode: stat.mode.toString(8).padStart(4, '0'),
    uid: stat.uid,
    gid: stat.gid,
    sizeBytes: stat.sizeBytes,
    allocatedBytes: stat.allocatedBytes,
    linkCount: stat.linkCount,
    ...timesOf(stat),
    ...(stat.device === undefined ? {} : { device: stat.device }),
    ...(target === undefined ? {} : { target: target.toString('utf8') }),
  });
}

function timesOf(stat: FileStat): Readonly<Record<string, string>> {
  return {
    modifyTime: isoTime(stat.modifyTime),
    accessTime: isoTime(stat.accessTime),
    changeTime: isoTime(stat.changeTime),
    ...(stat.birthTime === undefined ? {} : { birthTime: isoTime(stat.birthTime) }),
  };
}

/** ISO 8601 with nanoseconds. */
export function isoTime({ seconds, nanoseconds }: FileTime): string {
  const whole = new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, '');
  return `${whole}.${String(nanoseconds).padStart(9, '0')}Z`;
}

function modeText(mode: number): string {
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = (mode >>> shift) & 7;
    const isSpecial = (mode & special) !== 0;
    const runs = (bits & 1) !== 0;
    const last = isSpecial ? (runs ? letter : letter.toUpperCase()) : runs ? 'x' : '-';
    return ((bits & 4) === 0 ? '-' : 'r') + ((bits & 2) === 0 ? '-' : 'w') + last;
  };
  return triple(6, 0o4000, 's') + triple(3, 0o2000, 's') + triple(0, 0o1000, 't');
}
