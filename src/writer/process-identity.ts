import { readFileSync, readlinkSync } from 'node:fs';
import { systemCodeOf } from '../util/errors.js';

/** A process, so that no other one is taken for it, not even after a restart of the machine. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Since the machine started, in clock ticks; empty where the system does not say. */
  readonly startTime: string;
  /** Of the machine's present run; empty where the system does not say. */
  readonly bootId: string;
  /** Pids mean something only within it; empty where the system has none. */
  readonly pidNamespace: string;
}

/** Whether a process is still there. */
export const Liveness = { Alive: 'alive', Gone: 'gone', Unknown: 'unknown' } as const;
export type Liveness = (typeof Liveness)[keyof typeof Liveness];

/** This process. */
export function ownIdentity(): ProcessIdentity {
  return {
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? '',
    bootId: read('/proc/sys/kernel/random/boot_id')?.trim() ?? '',
    pidNamespace: ownPidNamespace(),
  };
}

/** Unknown: it belongs to another container, whose processes cannot be seen from here. */
export function livenessOf(identity: ProcessIdentity): Liveness {
  const own = ownIdentity();
  if (identity.bootId !== own.bootId) return Liveness.Gone;
  if (identity.pidNamespace !== own.pidNamespace) return Liveness.Unknown;
  if (identity.startTime === '') return isPidTaken(identity.pid) ? Liveness.Alive : Liveness.Gone;
  return startTimeOf(identity.pid) === identity.startTime ? Liveness.Alive : Liveness.Gone;
}

function isPidTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

/** The 22nd field; the second is the name in brackets, which may hold anything. A zombie counts as gone. */
function startTimeOf(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}

function ownPidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return '';
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
}
