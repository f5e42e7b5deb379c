import { messageOf, systemCodeOf } from './errors.js';

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EBUSY: 'it is in use',
  EISDIR: 'it is a folder',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
  ENOENT: 'no such file',
  ENOSPC: 'no space left on the disk',
  ENOTDIR: 'a part of its path is not a folder',
  ENOTEMPTY: 'it is not empty',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
};

/**
 * Why a call of the system failed, in words and without the path that the message around it names anyway. For
 * `Cannot read ${path}: ${systemReason(error)}.`
 */
export function systemReason(thrown: unknown): string {
  return REASONS[systemCodeOf(thrown) ?? ''] ?? withoutPath(thrown);
}

/** Node.js writes `CODE: words, call 'path'`: the path may be any bytes that somebody has given a file for a name. */
function withoutPath(thrown: unknown): string {
  const text = messageOf(thrown);
  const { syscall, path }: Partial<NodeJS.ErrnoException> = thrown instanceof Error ? thrown : {};
  const end = path === undefined ? -1 : text.indexOf(`, ${syscall ?? ''} '`);
  return end < 0 ? text : text.slice(0, end);
}
