import { close, open } from 'node:fs';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);

interface OpenFile {
  readonly fd: number;
  useCount: number;
  /** No longer in the table: closed when the last user is done. */
  retired: boolean;
}

/** Files that are open for reading, at most so many beside those in use; the least recently used are closed. */
export class OpenFiles {
  readonly #files = new Map<string, Promise<OpenFile>>();
  readonly #filesMax: number;

  /** @param filesMax files that stay open while nobody reads them. */
  constructor(filesMax: number) {
    this.#filesMax = filesMax;
  }

  /** Lends the descriptor of `path` for as long as `use` runs. */
  async use<T>(path: string, use: (fd: number) => Promise<T>): Promise<T> {
    const file = await this.#borrow(path);
    try {
      return await use(file.fd);
    } finally {
      file.useCount -= 1;
      if (file.retired && file.useCount === 0) await closeFile(file.fd);
    }
  }

  /** Closes every file; those in use when their user is done. */
  async close(): Promise<void> {
    for (const path of [...this.#files.keys()]) await this.#retire(path);
  }

  async #borrow(path: string): Promise<OpenFile> {
    let opening = this.#files.get(path);
    if (opening === undefined) {
      opening = openFile(path, 'r').then((fd) => ({ fd, useCount: 0, retired: false }));
    } else {
      this.#files.delete(path);
    }
    this.#files.set(path, opening);
    let file: OpenFile;
    try {
      file = await opening;
    } catch (error) {
      if (this.#files.get(path) === opening) this.#files.delete(path);
      throw error;
    }
    // Between opening and here, others may have pushed it out and closed it.
    if (file.retired && file.useCount === 0) return this.#borrow(path);
    file.useCount += 1;
    await this.#shrink(path);
    return file;
  }

  async #shrink(keep: string): Promise<void> {
    while (this.#files.size > this.#filesMax) {
      const [oldest] = this.#files.keys();
      if (oldest === undefined || oldest === keep) return;
      await this.#retire(oldest);
    }
  }

  async #retire(path: string): Promise<void> {
    const opening = this.#files.get(path);
    this.#files.delete(path);
    const file = await opening?.catch(() => undefined);
    if (file === undefined || file.retired) return;
    file.retired = true;
    if (file.useCount === 0) await closeFile(file.fd);
  }
}
