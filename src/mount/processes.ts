import { readdirSync, readFileSync } from 'node:fs';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';

/** A server that is told to stop finishes what is in flight within 10 s. */
const STOP_WAIT_MS = 20_000;
const POLL_MS = 20;

/** A process of this machine. */
export interface FoundProcess {
  readonly pid: number;
  /** Its command line. */
  readonly parts: readonly string[];
}

/** Whatever names something in a folder on its command line: of the folder of a mount, which nothing else does. */
export function processesNaming(folder: string): readonly FoundProcess[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .map((pid) => ({ pid, parts: commandLineOf(pid) }))
    .filter(({ parts }) => parts.some((part) => part.includes(`${folder}/`)));
}

/**
 * Ends the processes that name something in a folder: by SIGTERM, and after 20 s by SIGKILL.
 *
 * @throws {EnvironmentError} when they live on for 20 s more.
 */
export async function endProcesses(folder: string): Promise<void> {
  for (const { pid } of processesNaming(folder)) signal(pid, 'SIGTERM');
  const deadlineMs = performance.now() + STOP_WAIT_MS;
  for (let left = processesNaming(folder); left.length > 0; left = processesNaming(folder)) {
    const lateMs = performance.now() - deadlineMs;
    if (lateMs > 0) for (const { pid } of left) signal(pid, 'SIGKILL');
    if (lateMs > STOP_WAIT_MS) {
      throw new EnvironmentError(
        `Cannot end process ${left.map(({ pid }) => pid).join(', ')}, which serves or attaches the disk: try again.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The parts of a process's command line; empty for one that has ended, or is ending. */
export function commandLineOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return [];
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It has ended by itself meanwhile.
    if (systemCodeOf(error) !== 'ESRCH') throw error;
  }
}
