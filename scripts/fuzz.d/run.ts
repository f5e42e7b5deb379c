import type { Socket } from 'node:net';
import { Canary, SECRET } from './canary.js';
import { loadConversations } from './conversation.js';
import { mutate } from './mutate.js';
import type { FuzzOptions } from './options.js';
import { play } from './player.js';
import { Random } from './random.js';
import { KEPT_DESCRIPTORS_MAX, type Resources, Target } from './target.js';

/** The server is looked at so often, in milliseconds. */
const LOOK_EVERY_MS = 1000;

/**
 * A server has to end a connection whose client has hung up before the canary has been answered so often, at least a
 * second apart: so a machine that is short of time is not taken for a server that hangs.
 */
const PATIENCE_LOOKS = 30;

/** The canary has to be answered in this time, in milliseconds. */
const CANARY_PATIENCE_MS = 120_000;

/** After so many inputs the server has warmed up, and what it takes then is what it is measured by. */
const WARM_UP_INPUTS = 2000;

/**
 * What the server may take at any time, in MiB: its heap, its cache, and what its limits let clients have of it: no more
 * of them at a time than there are connections here, with small disks.
 */
const RESIDENT_MIB_MAX = 700;

/** What it may take at the end above what it took when it had warmed up, in MiB: what a heap grows by before it is cleaned. */
const RESIDENT_MIB_MORE_MAX = 150;

/** What a run has come to. */
export interface FuzzReport {
  readonly inputs: number;
  readonly receivedBytes: number;
  readonly seconds: number;
  readonly looks: number;
  readonly warm: Resources;
  readonly peakMib: number;
  readonly end: Resources;
  /** Seconds of a processor that server and driver have had for the inputs. */
  readonly cpuSeconds: { readonly server: number; readonly driver: number };
}

/** Runs inputs until time or inputs are over. @throws {Error} at the first thing that is wrong, with how to repeat it. */
export async function fuzz(options: FuzzOptions, say: (line: string) => void): Promise<FuzzReport> {
  const conversations = loadConversations();
  const target = await Target.start(options.snapnbd, options.isTls);
  try {
    const run = new Run(options, conversations, target, await Canary.release(target), say);
    for (const signal of ['SIGINT', 'SIGTERM'])
      process.once(signal, () => run.fail(new Error('stopped by a signal')));
    return await run.report();
  } finally {
    await target.stop();
  }
}

class Run {
  readonly #options: FuzzOptions;
  readonly #conversations: ReturnType<typeof loadConversations>;
  readonly #target: Target;
  readonly #canary: Canary;
  readonly #say: (line: string) => void;
  readonly #beganMs = performance.now();
  readonly #before: Resources;
  readonly #cpuBefore = process.cpuUsage();
  #warm: Resources | undefined;
  #peakMib = 0;
  #next: number;
  #doneCount = 0;
  #receivedBytes = 0;
  #isDone = false;
  #failure: Error | undefined;
  /** What is being said just now, and how often the canary had been answered before: one of these is to blame. */
  readonly #underWay = new Map<number, number>();
  readonly #live = new Set<Socket>();

  constructor(
    options: FuzzOptions,
    conversations: ReturnType<typeof loadConversations>,
    target: Target,
    canary: Canary,
    say: (line: string) => void,
  ) {
    this.#options = options;
    this.#conversations = conversations;
    this.#target = target;
    this.#canary = canary;
    this.#say = say;
    this.#next = options.first;
    this.#before = target.resources();
  }

  async report(): Promise<FuzzReport> {
    const workers = Array.from({ length: this.#options.connections }, () => this.#work());
    const done = Promise.all(workers).then(() => (this.#isDone = true));
    await Promise.all([done, this.#watch(done)]);
    if (this.#failure !== undefined) throw this.#failure;
    const end = await this.#settled();
    return {
      inputs: this.#doneCount,
      receivedBytes: this.#receivedBytes,
      seconds: (performance.now() - this.#beganMs) / 1000,
      looks: this.#canary.lookCount,
      warm: this.#warm ?? this.#before,
      peakMib: this.#peakMib,
      end,
      cpuSeconds: {
        server: end.cpuSeconds - this.#before.cpuSeconds,
        driver: cpuSecondsOf(process.cpuUsage(this.#cpuBefore)),
      },
    };
  }

  get #isOver(): boolean {
    const { inputs, seconds, first } = this.#options;
    return (
      this.#failure !== undefined ||
      this.#next >= first + inputs ||
      performance.now() - this.#beganMs > seconds * 1000
    );
  }

  async #work(): Promise<void> {
    while (!this.#isOver) {
      const index = this.#next;
      this.#next += 1;
      this.#underWay.set(index, this.#canary.lookCount);
      const random = new Random(this.#options.seed, index);
      const tail = new SecretFinder();
      try {
        const onData = (chunk: Buffer): void => {
          this.#receivedBytes += chunk.length;
          if (tail.finds(chunk)) this.fail(new Error('a client was given what is on the disk of another'));
        };
        await play(mutate(this.#conversations, random), this.#target, random, onData, this.#live);
      } catch (error) {
        this.fail(error);
      }
      this.#underWay.delete(index);
      this.#doneCount += 1;
    }
  }

  async #watch(done: Promise<unknown>): Promise<void> {
    for (let looks = 1; !this.#isDone && this.#failure === undefined; looks += 1) {
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))]);
      try {
        this.#inspect();
        await this.#lookInTime();
      } catch (error) {
        this.fail(error);
      }
      if (looks % 10 === 0) this.#say(this.#progress());
    }
  }

  async #lookInTime(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`the canary was not answered for ${CANARY_PATIENCE_MS} ms`);
      timer = setTimeout(() => reject(error), CANARY_PATIENCE_MS);
    });
    await Promise.race([this.#canary.look(), late]).finally(() => clearTimeout(timer));
    for (const [index, before] of this.#underWay) {
      if (this.#canary.lookCount - before <= PATIENCE_LOOKS) continue;
      throw new Error(`the server has not hung up on input ${index} while others came and went`);
    }
  }

  #inspect(): void {
    const [complaint] = this.#target.complaints;
    if (complaint !== undefined) throw new Error(complaint);
    const now = this.#target.resources();
    this.#peakMib = Math.max(this.#peakMib, now.residentMib);
    if (this.#warm === undefined && this.#doneCount >= WARM_UP_INPUTS) this.#warm = now;
    if (now.residentMib > RESIDENT_MIB_MAX) throw new Error(`the server takes ${now.residentMib} MiB`);
    // A connection that is ending, and one that has just begun, may be there beside each that is under way.
    const descriptorsMax = this.#before.descriptors + 3 * this.#options.connections + KEPT_DESCRIPTORS_MAX;
    if (now.descriptors > descriptorsMax) throw new Error(`the server has ${now.descriptors} descriptors`);
  }

  /** What the server takes once nobody is connected but the canary. */
  async #settled(): Promise<Resources> {
    for (let tries = 0; ; tries += 1) {
      await this.#canary.look();
      const end = this.#target.resources();
      const isBack =
        end.descriptors <= this.#before.descriptors + KEPT_DESCRIPTORS_MAX &&
        end.residentMib <= (this.#warm ?? this.#before).residentMib + RESIDENT_MIB_MORE_MAX;
      if (isBack) {
        this.#canary.leave();
        return end;
      }
      if (tries === 100) {
        throw new Error(`the server keeps ${end.residentMib} MiB and ${end.descriptors} descriptors`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #progress(): string {
    const { residentMib, descriptors } = this.#target.resources();
    return `${this.#doneCount} inputs, ${residentMib} MiB resident, ${descriptors} descriptors`;
  }

  /** Ends the run; the first failure is the one that is reported. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    const { seed } = this.#options;
    const said = [...this.#underWay.keys()].join(', ');
    const reason = error instanceof Error ? error.message : String(error);
    const complaints = this.#target.complaints.filter((complaint) => complaint !== reason);
    this.#failure = new Error(
      [`${reason} (seed ${seed}; under way or just over: ${said})`, ...complaints].join('\n'),
      { cause: error },
    );
    for (const socket of this.#live) socket.destroy();
  }
}

function cpuSecondsOf({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1e6;
}

/** Looks for the secret in a stream, also where two chunks meet. */
class SecretFinder {
  #tail = Buffer.alloc(0);

  finds(chunk: Buffer): boolean {
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, SECRET.length)]);
    this.#tail = Buffer.from(chunk.subarray(-SECRET.length));
    return chunk.includes(SECRET) || seam.includes(SECRET);
  }
}
