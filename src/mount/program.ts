import { execFile } from 'node:child_process';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';

/** Programs of the system are in these, whatever a user's PATH says. */
const SYSTEM_PATH = '/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin';
/** Attaching and mounting read a few blocks, each of which may be retried for 20 s. */
const TIMEOUT_MS = 120_000;

/** What a program of the system wrote, and how it ended. */
export interface ProgramOutcome {
  /** Undefined where it is not installed. */
  readonly status: number | undefined;
  readonly stdout: string;
  /** The last line of what it complained about that says something. */
  readonly complaint: string;
}

/** Where programs are looked for. */
export function programEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ''}:${SYSTEM_PATH}`, LC_ALL: 'C' };
}

/** More than any program here writes: what 64 files have of extended attributes, most of all. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Runs a program of the system to its end; never rejects. It is killed after two minutes.
 *
 * @param input for its standard input. With it, what goes in and comes out has a character for each byte.
 */
export function runProgram(name: string, args: readonly string[], input?: string): Promise<ProgramOutcome> {
  return new Promise((resolve) => {
    const options = {
      env: programEnvironment(),
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_MAX,
      encoding: input === undefined ? 'utf8' : 'latin1',
    } as const;
    const child = execFile(name, [...args], options, (error, stdout, stderr) => {
      const isMissing = systemCodeOf(error) === 'ENOENT';
      const code = typeof error?.code === 'number' ? error.code : 1;
      resolve({
        status: isMissing ? undefined : error === null ? 0 : code,
        stdout,
        complaint: lastWordOf(stderr),
      });
    });
    // One that has ended, or never began, reads nothing: how it ended says more.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input, 'latin1');
  });
}

/** mount(8) ends with a hint at where else one may look, which is not what has happened. */
function lastWordOf(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '' && !line.startsWith('dmesg(1)')) ?? '';
}

/**
 * The same, for what has to succeed.
 *
 * @param purpose what could not be done, as in `Cannot <purpose>: ...`.
 * @returns what it wrote on its standard output.
 * @throws {EnvironmentError} with the program's own last word.
 */
export async function mustRunProgram(
  name: string,
  args: readonly string[],
  purpose: string,
): Promise<string> {
  const { status, stdout, complaint } = await runProgram(name, args);
  if (status === 0) return stdout;
  const reason =
    status === undefined ? `${name} is not installed` : complaint || `${name} ended with ${status}`;
  throw new EnvironmentError(`Cannot ${purpose}: ${reason.replace(/\.$/, '')}.`);
}
