import {
  close,
  fdatasync,
  fstat,
  fsync,
  open as openCallback,
  read,
  readSync,
  write,
  writeSync,
  writev,
} from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCodeOf } from '../util/errors.js';
import { KIB, MIB } from '../util/units.js';
import type { StagingFile, StagingFolder } from './staging-folder.js';

const openFile = promisify(openCallback);
const closeFile = promisify(close);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);
const statFile = promisify(fstat);

/** Up to here the copy into the page cache is cheaper than the way to a thread and back; larger ones keep a second core busy. */
const AT_ONCE_BYTES_MAX = 128 * KIB;
/** A write into the page cache that takes longer was held up by the disk, rather than by whoever else wanted the processor. */
const HELD_UP_MS = 30;
/** For so long after that, writes are left to the thread pool, where they hold up nobody else. */
const PATIENCE_MS = 100;

/** A folder on a disk. Its files are the user's alone, since they are somebody's disk. */
export class DiskFolder implements StagingFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Makes the folder and those above it where they are missing, mode 0700. */
  async make(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
  }

  async open(name: string, { create }: { readonly create: boolean }): Promise<StagingFile> {
    const path = join(this.path, name);
    try {
      return new DiskFile(await openFile(path, 'r+'));
    } catch (error) {
      const code = systemCodeOf(error);
      // Who has no lock only looks.
      if (!create && code === 'EROFS') return new DiskFile(await openFile(path, 'r'));
      if (!create || code !== 'ENOENT') throw error;
      return new DiskFile(await openFile(path, 'wx+', 0o600));
    }
  }

  list(): Promise<readonly string[]> {
    return readdir(this.path);
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.path, from), join(this.path, to));
  }

  remove(name: string): Promise<void> {
    return rm(join(this.path, name), { force: true });
  }

  async sync(): Promise<void> {
    const fd = await openFile(this.path, 'r');
    try {
      await syncAll(fd);
    } finally {
      await closeFile(fd);
    }
  }
}

/** Writes that lie one behind the other are handed over together up to here: one trip to a thread and back. */
const JOINED_BYTES_MAX = 4 * MIB;
const JOINED_WRITES_MAX = 64;

let writesHeldUpUntilMs = 0;

/** A write that was left to the thread pool. */
interface PoolWrite {
  readonly position: number;
  /** What is left of it. */
  readonly data: Uint8Array;
  /** It was joined to others, of which one failed or came to its end too early: on its own it hears what is wrong with it. */
  readonly isAlone: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class DiskFile implements StagingFile {
  readonly #fd: number;
  /** Writes that wait for the thread pool, the one that came first at the beginning. */
  #waiting: PoolWrite[] = [];
  #isPoolWriting = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async sizeBytes(): Promise<number> {
    return (await statFile(this.#fd)).size;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        read(this.#fd, target, done, target.length - done, position + done, (error, bytesRead) => {
          if (error !== null) reject(error);
          else if (bytesRead === 0 || done + bytesRead === target.length) resolve(done + bytesRead);
          else step(done + bytesRead);
        });
      };
      step(0);
    });
  }

  readNow(target: Uint8Array, position: number): number {
    let done = 0;
    while (done < target.length) {
      const bytesRead = readSync(this.#fd, target, done, target.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  write(data: Uint8Array, position: number): void | Promise<void> {
    if (data.length > AT_ONCE_BYTES_MAX) return this.#writeInPool(data, position);
    const startMs = performance.now();
    if (startMs < writesHeldUpUntilMs) return this.#writeInPool(data, position);
    const written = writeSync(this.#fd, data, 0, data.length, position);
    const endMs = performance.now();
    if (endMs - startMs > HELD_UP_MS) writesHeldUpUntilMs = endMs + PATIENCE_MS;
    if (written < data.length) return this.#writeInPool(data.subarray(written), position + written);
  }

  sync(): Promise<void> {
    return syncData(this.#fd);
  }

  close(): Promise<void> {
    return closeFile(this.#fd);
  }

  /**
   * Writes in the thread pool, one write at a time: the system lets no second one into a file, and a thread that waits for
   * its turn spins, which takes the processor from whoever has work.
   */
  #writeInPool(data: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ position, data, isAlone: false, resolve, reject });
      if (!this.#isPoolWriting) this.#writeNext();
    });
  }

  #writeNext(): void {
    const writes = takeJoined(this.#waiting);
    const [first] = writes;
    this.#isPoolWriting = first !== undefined;
    if (first === undefined) return;
    if (writes.length === 1) {
      write(this.#fd, first.data, 0, first.data.length, first.position, (error, written) => {
        if (error !== null) first.reject(error);
        else this.#written(writes, written);
        this.#writeNext();
      });
      return;
    }
    const pieces = writes.map(({ data }) => data);
    writev(this.#fd, pieces, first.position, (error, written) => {
      // Which of them is to blame is seen when each is written on its own.
      this.#written(writes, error === null ? written : 0);
      this.#writeNext();
    });
  }

  /** So many bytes are written of some writes; what is left of them is written before everything else. */
  #written(writes: readonly PoolWrite[], written: number): void {
    let from = 0;
    const rest: PoolWrite[] = [];
    for (const each of writes) {
      const done = Math.min(each.data.length, Math.max(0, written - from));
      from += each.data.length;
      if (done === each.data.length) each.resolve();
      else {
        const { position, data, resolve, reject } = each;
        rest.push({ position: position + done, data: data.subarray(done), isAlone: true, resolve, reject });
      }
    }
    if (rest.length > 0) this.#waiting = [...rest, ...this.#waiting];
  }
}

/** Takes the first of the writes, and those that lie right behind it. */
function takeJoined(waiting: PoolWrite[]): readonly PoolWrite[] {
  const [first] = waiting;
  if (first === undefined) return [];
  let count = 1;
  let lengthBytes = first.data.length;
  while (!first.isAlone && count < JOINED_WRITES_MAX) {
    const next = waiting[count];
    if (next === undefined || next.isAlone || next.position !== first.position + lengthBytes) break;
    if (lengthBytes + next.data.length > JOINED_BYTES_MAX) break;
    lengthBytes += next.data.length;
    count += 1;
  }
  return waiting.splice(0, count);
}
