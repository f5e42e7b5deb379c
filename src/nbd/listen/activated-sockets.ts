import { readFileSync, readlinkSync } from 'node:fs';
import { EnvironmentError } from '../../util/errors.js';

/** The first descriptor that is passed on, behind standard input, output and error. (sd_listen_fds(3)) */
const FIRST_FD = 3;
/** More sockets than anybody writes into a unit. */
const SOCKETS_MAX = 256;

/** A socket that the service manager listens on for this process. */
export interface ActivatedSocket {
  readonly fd: number;
  /** As in the unit, or "unknown". */
  readonly name: string;
}

/**
 * Reads what systemd says about the sockets that it has passed on: LISTEN_FDS of them, for the process LISTEN_PID, with
 * the names LISTEN_FDNAMES. (sd_listen_fds(3))
 *
 * @param pid of this process: what is meant for another one, such as a parent, is left alone.
 * @returns undefined when there are none for this process.
 * @throws {EnvironmentError} when the variables contradict themselves.
 */
export function activatedSockets(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): readonly ActivatedSocket[] | undefined {
  const { LISTEN_PID: forPid, LISTEN_FDS: countText, LISTEN_FDNAMES: namesText } = environment;
  if (countText === undefined || forPid !== String(pid)) return undefined;
  const count = /^\d{1,4}$/.test(countText) ? Number(countText) : Number.NaN;
  if (!(count >= 1 && count <= SOCKETS_MAX)) {
    throw new EnvironmentError(`Cannot take over sockets: LISTEN_FDS is "${countText}".`);
  }
  const names = namesText?.split(':') ?? [];
  if (namesText !== undefined && names.length !== count) {
    throw new EnvironmentError(
      `Cannot take over sockets: LISTEN_FDNAMES names ${names.length}, and LISTEN_FDS is ${count}.`,
    );
  }
  return Array.from({ length: count }, (_, index) => ({
    fd: FIRST_FD + index,
    name: names[index] ?? 'unknown',
  }));
}

/**
 * The path of a unix socket that was passed on, which only the system knows.
 *
 * @throws {EnvironmentError} when it has none that clients could be told.
 */
export function unixPathOf(fd: number): string {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  const line = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .find((entry) => entry.split(/\s+/, 7)[6] === inode);
  const path = line?.split(/\s+/).slice(7).join(' ') ?? '';
  if (!path.startsWith('/')) {
    throw new EnvironmentError(`Cannot listen on descriptor ${fd}: it is a unix socket without a path.`);
  }
  return path;
}
