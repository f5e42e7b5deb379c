import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compiledMain } from '../../test/fixtures/compiled.js';
import type { Addresses } from './player.js';

/** The disk that no input knows the name of, and its size in bytes. */
export const GUARDED = { name: 'guarded-3f9c61', sizeBytes: 2 ** 18 } as const;

/** What the server's heap may take at most, in MiB: what leaks ends it long before this machine is short of memory. */
const HEAP_MIB = 256;

/** Blocks that it fetches from the emulator at once, and list pages beside them. */
const API_IN_FLIGHT_MAX = 2;
const LISTS_IN_FLIGHT_MAX = 8;

/** Idle connections to the emulator that it may keep; both of their ends are in the same process. */
export const KEPT_DESCRIPTORS_MAX = 2 * (API_IN_FLIGHT_MAX + LISTS_IN_FLIGHT_MAX);

/** The unit of the times in /proc, which is the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** What the server takes of the system. */
export interface Resources {
  readonly residentMib: number;
  readonly descriptors: number;
  /** Seconds of a processor that it has had so far. */
  readonly cpuSeconds: number;
}

/** A live server in a process of its own, with disks in memory and a snapshot out of an emulator. */
export class Target implements Addresses {
  readonly socketPath: string;
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #complaints: string[] = [];
  #port = 0;

  private constructor(main: string, isTls: boolean) {
    this.#folder = mkdtempSync(join(tmpdir(), 'snapnbd-fuzz-'));
    this.socketPath = join(this.#folder, 's');
    const emulator = join(this.#folder, 'emulator');
    const keys = join(this.#folder, 'keys');
    writeFileSync(keys, 'fuzz:00112233445566778899aabbccddeeff\n', { mode: 0o600 });
    const synth = ['emulator', 'synth', '--dir', emulator, '--size', '1GiB', '--fill', '0.01', '--seed', '1'];
    const snapshotId = execFileSync(process.execPath, [main, ...synth], { encoding: 'utf8' }).trim();
    this.#child = spawn(
      'setpriv',
      [
        // It goes when this program is killed.
        ...['--pdeathsig', 'KILL', '--', process.execPath],
        // Threads of a collector would take time from what is tested.
        ...[`--max-old-space-size=${HEAP_MIB}`, '--single-threaded-gc', main, 'serve'],
        ...['disk=memory:2MiB', `snap=${snapshotId}`, `${GUARDED.name}=memory:${GUARDED.sizeBytes}`],
        ...['--emulator', emulator, '--cache-memory', '16MiB', '--max-connections', '1000'],
        ...['--listen', `unix:${this.socketPath}`, '--listen', '127.0.0.1:0'],
        ...['--max-inflight', `${API_IN_FLIGHT_MAX}`, '--log-format', 'json', '--log-level', 'warn'],
        ...(isTls ? ['--tls', 'on', '--tls-psk', keys] : []),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
  }

  /**
   * @param main the program, a compiled `cli/main.js`. Default: the sources, compiled.
   * @param isTls whether it offers TLS.
   */
  static async start(main: string = compiledMain(), isTls = true): Promise<Target> {
    const target = new Target(main, isTls);
    try {
      await target.#ready();
    } catch (error) {
      await target.stop();
      throw error;
    }
    return target;
  }

  get port(): number {
    return this.#port;
  }

  /** What went wrong by itself: the server has ended, or has said something that it only says of its own defects. */
  get complaints(): readonly string[] {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) return this.#complaints;
    return [...this.#complaints, `the server has ended: ${signalCode ?? exitCode ?? ''}`];
  }

  resources(): Resources {
    const folder = `/proc/${this.#child.pid ?? 0}`;
    const status = readFileSync(`${folder}/status`, 'utf8');
    const residentMib = Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024);
    const stat = readFileSync(`${folder}/stat`, 'utf8');
    const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12);
    const cpuSeconds = (Number(user) + Number(system)) / TICKS_PER_SECOND;
    return { residentMib, descriptors: readdirSync(`${folder}/fd`).length, cpuSeconds };
  }

  /** Ends it, and removes what it made. @returns its exit status. */
  async stop(): Promise<number | null> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      this.#child.kill('SIGTERM');
      await once(this.#child, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
    return this.#child.exitCode;
  }

  async #ready(): Promise<void> {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error('The server has no output');
    createInterface({ input: stderr }).on('line', (line) => this.#hear(line));
    for await (const line of createInterface({ input: stdout })) {
      this.#port ||= Number(/^nbd:\/\/[^/]*:(\d+)\//.exec(line)?.[1] ?? 0);
      if (this.#port !== 0) return;
    }
    throw new Error(`The server did not start: ${this.#complaints.join('; ')}`);
  }

  /** Warnings are about clients and devices; errors, and lines that are none of the log, are about the server. */
  #hear(line: string): void {
    let level: unknown;
    try {
      level = (JSON.parse(line) as { level?: unknown }).level;
    } catch {
      level = 'not a line of the log';
    }
    if (level !== 'warn' && this.#complaints.length < 100) this.#complaints.push(line);
  }
}
