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
} from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCodeOf } from '../util/errors.js';
import { KIB } from '../util/units.js';
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

let writesHeldUpUntilMs = 0;

class DiskFile implements StagingFile {
  readonly #fd: number;
  /** Ends with the writes that were left to the thread pool. */
  #poolWrites: Promise<unknown> = Promise.resolve();
  #poolWriteCount = 0;

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
    if (data.length > AT_ONCE_BYTES_MAX) return this.#writeInPool(data, position, 0);
    const startMs = performance.now();
    if (startMs < writesHeldUpUntilMs) return this.#writeInPool(data, position, 0);
    const written = writeSync(this.#fd, data, 0, data.length, position);
    const endMs = performance.now();
    if (endMs - startMs > HELD_UP_MS) writesHeldUpUntilMs = endMs + PATIENCE_MS;
    if (written < data.length) return this.#writeInPool(data, position, written);
  }

  sync(): Promise<void> {
    return syncData(this.#fd);
  }

  close(): Promise<void> {
    return closeFile(this.#fd);
  }

  /**
   * Writes in the thread pool what is left from `from` on, one write at a time: the system lets no second one into a file,
   * and a thread that waits for its turn spins, which takes the processor from whoever has work.
   */
  #writeInPool(data: Uint8Array, position: number, from: number): Promise<void> {
    const write = (): Promise<void> => this.#writeOnThread(data, position, from);
    const written = this.#poolWriteCount === 0 ? write() : this.#poolWrites.then(write, write);
    this.#poolWriteCount += 1;
    const ended = (): void => {
      this.#poolWriteCount -= 1;
    };
    this.#poolWrites = written.then(ended, ended);
    return written;
  }

  #writeOnThread(data: Uint8Array, position: number, from: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        write(this.#fd, data, done, data.length - done, position + done, (error, written) => {
          if (error !== null) reject(error);
          else if (done + written >= data.length) resolve();
          else step(done + written);
        });
      };
      step(from);
    });
  }
}
