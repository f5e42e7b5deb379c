import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Of the kernel's clock in /proc: the same on every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;
const STDERR_CHARACTERS_MAX = 2000;

/** A program that runs. */
export interface Program {
  readonly pid: number;
  /** Resolves to the next `count` lines of its standard output. @throws when it ends before. */
  lines(count: number): Promise<readonly string[]>;
  /** CPU seconds that it has taken so far, with those of its children that have ended. */
  cpuSeconds(): number;
  /** Resident memory now, in bytes. */
  residentBytes(): number;
  /** Resolves when it has ended by itself. @throws when that was not with status 0, with what it said. */
  readonly ended: Promise<void>;
  /** Ends it, and resolves when it has ended. */
  stop(): Promise<void>;
}

/** Starts a program, without a shell. Read its `lines` or it may stop when its output is full. */
export function startProgram(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Program {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-STDERR_CHARACTERS_MAX);
  });
  const ended = endOf(child, command, () => said);
  // Whoever waits hears of it; nobody may.
  ended.catch(() => undefined);
  const pid = child.pid ?? 0;
  const reader = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid,
    ended,
    lines: async (count) => {
      const lines: string[] = [];
      while (lines.length < count) {
        const next = await reader.next();
        if (next.done === true) throw new Error(`${command} ended before it was ready: ${said.trim()}`);
        lines.push(next.value);
      }
      return lines;
    },
    cpuSeconds: () => cpuSecondsOf(pid),
    residentBytes: () => residentBytesOf(pid),
    stop: async () => {
      child.kill('SIGTERM');
      await ended.catch(() => undefined);
    },
  };
}

/** What a program took from its start to its end. */
export interface Usage {
  readonly wallSeconds: number;
}

/** Runs a program to its end. @throws when that is not with status 0. */
export async function runProgram(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Usage> {
  const startMs = performance.now();
  const program = startProgram(command, args, env);
  await program.ended;
  return { wallSeconds: (performance.now() - startMs) / 1000 };
}

/** A folder of one's own, and how it goes away. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'snapnbd-bench-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * The compiled program: `dist/cli/main.js`, or that of the folder in SNAPNBD_DIST.
 *
 * @throws when it was not built.
 */
export function compiledCli(): string {
  const dist = process.env.SNAPNBD_DIST ?? join(import.meta.dirname, '..', 'dist');
  const path = join(dist, 'cli', 'main.js');
  if (!existsSync(path)) throw new Error(`Cannot find ${path}: run "npm run build" first.`);
  return path;
}

/** CPU seconds of a process so far, user and system, with those of its children that have ended. */
export function cpuSecondsOf(pid: number): number {
  // [proc(5): stat] The name, in parentheses, may have spaces; utime is the 14th field of all.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

/** Resident memory of a process now. */
export function residentBytesOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) * 1024;
}

async function endOf(child: ChildProcess, command: string, said: () => string): Promise<void> {
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (status !== 0) throw new Error(`${command} ended with ${status ?? signal ?? '?'}: ${said().trim()}`);
}
