import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { unsupported } from '../../files/file-error.js';
import { EnvironmentError } from '../../util/errors.js';
import { GuestfishError } from './guestfish-text.js';

/** The names of a directory with a million files, or a piece of a file. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** Of complaints the last ones are kept. */
const COMPLAINT_BYTES_MAX = 64 * 1024;
/** A virtual machine that is emulated ends within a second or two. */
const CLOSE_MAX_MS = 10_000;

/** One command that was sent. */
interface Job {
  readonly mark: Buffer;
  readonly chunks: Buffer[];
  outputBytes: number;
  /** Undefined until all of it is there. */
  output: Buffer | undefined;
  complaint: string | undefined;
  readonly resolve: (output: Buffer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A guestfish that runs: commands go to its standard input one after another, each followed by a mark of random letters
 * that it writes to its output (`echo`) and complains about (as a command that it does not know). So what belongs to
 * which command is certain, whatever bytes a file has.
 */
export class GuestfishSession {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #nonce = randomBytes(12).toString('hex');
  readonly #jobs: Job[] = [];
  readonly #ended: Promise<void>;
  #markCount = 0;
  /** Output that may be the beginning of a mark. */
  #rest: Buffer = Buffer.alloc(0);
  #complaints = '';
  /** Why no command can be run any more. */
  #failure: Error | undefined;

  /**
   * Starts a program that takes commands as guestfish does.
   *
   * @param command the program, and its arguments.
   */
  constructor([program = 'guestfish', ...args]: readonly string[], env: NodeJS.ProcessEnv) {
    // In a group of its own: Ctrl-C is for this process, which ends it in order.
    this.#child = spawn(program, args, { env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout.on('data', (bytes: Buffer) => this.#takeOutput(bytes));
    this.#child.stderr.on('data', (bytes: Buffer) => this.#takeComplaints(bytes.toString('latin1')));
    // One that has ended reads nothing: how it ended says more.
    this.#child.stdin.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#fail(new EnvironmentError(`Cannot run ${program}: ${error.message}.`, { cause: error }));
        resolve();
      });
      this.#child.once('exit', () => resolve());
      this.#child.once('close', () => {
        const { message } = new GuestfishError(this.#complaints);
        this.#fail(new EnvironmentError(`Cannot read by libguestfs: guestfish has ended: ${message}.`));
      });
    });
  }

  /**
   * Runs a command, after those that were asked for before.
   *
   * @param command without a newline, and a character for each byte.
   * @returns what it wrote.
   * @throws {GuestfishError} when it fails; {EnvironmentError} when guestfish has ended; {FileError} `ENOTSUP` when it
   * writes more than 64 MiB.
   */
  run(command: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const mark = `${this.#nonce}-${this.#markCount++}`;
      const job = { chunks: [], outputBytes: 0, output: undefined, complaint: undefined, resolve, reject };
      this.#jobs.push({ ...job, mark: Buffer.from(`${mark}\n`) });
      // With a dash in front, the failure of a command does not end all.
      this.#child.stdin.write(`-${command}\necho ${mark}\n-${mark}\n`, 'latin1');
    });
  }

  /** Ends guestfish and its virtual machine, whatever they are doing. */
  async close(): Promise<void> {
    const isIdle = this.#jobs.length === 0;
    this.#fail(new EnvironmentError('Cannot read by libguestfs: stopped.'));
    // At the end of its input it ends the virtual machine, and takes away what it has made; while that starts, it reads nothing.
    this.#child.stdin.end();
    if (!isIdle) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGTERM'), CLOSE_MAX_MS);
    await this.#ended;
    clearTimeout(timer);
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  #takeOutput(bytes: Buffer): void {
    let left = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const job = this.#jobs.find(({ output }) => output === undefined);
      // Nothing was asked: what it says then is for people.
      if (job === undefined) return;
      const end = left.indexOf(job.mark);
      if (end < 0) {
        const kept = Math.min(left.length, job.mark.length - 1);
        this.#add(job, left.subarray(0, left.length - kept));
        this.#rest = left.subarray(left.length - kept);
        return;
      }
      this.#add(job, left.subarray(0, end));
      left = left.subarray(end + job.mark.length);
      this.#rest = left;
      job.output = Buffer.concat(job.chunks);
      this.#settle();
    }
  }

  #add(job: Job, bytes: Buffer): void {
    job.outputBytes += bytes.length;
    if (job.outputBytes <= OUTPUT_BYTES_MAX) job.chunks.push(bytes);
    else job.chunks.length = 0;
  }

  #takeComplaints(text: string): void {
    this.#complaints = (this.#complaints + text).slice(-COMPLAINT_BYTES_MAX);
    for (;;) {
      const job = this.#jobs.find(({ complaint }) => complaint === undefined);
      const mark = job?.mark.toString('latin1').trimEnd() ?? '';
      const at = this.#complaints.indexOf(mark);
      const lineEnd = this.#complaints.indexOf('\n', at);
      if (job === undefined || at < 0 || lineEnd < 0) return;
      const lineStart = this.#complaints.lastIndexOf('\n', at) + 1;
      job.complaint = this.#complaints.slice(0, lineStart);
      this.#complaints = this.#complaints.slice(lineEnd + 1);
      this.#settle();
    }
  }

  #settle(): void {
    for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
      const { output, complaint, outputBytes } = job;
      if (output === undefined || complaint === undefined) return;
      this.#jobs.shift();
      if (complaint.trim() !== '') job.reject(new GuestfishError(complaint));
      else if (outputBytes > OUTPUT_BYTES_MAX)
        job.reject(unsupported('Cannot read so much at once by libguestfs: mount it instead, as root.'));
      else job.resolve(output);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#jobs.splice(0)) reject(this.#failure);
  }
}
