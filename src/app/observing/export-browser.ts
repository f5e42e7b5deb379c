import type { BlockDevice, ReadChunk } from '../../device/block-device.js';
import { readDiskLayout } from '../../files/disk-layout.js';
import { FileError, FileErrorCode } from '../../files/file-error.js';
import { FileKind, type Filesystem } from '../../files/filesystem.js';
import { openFilesystem } from '../../files/open-filesystem.js';
import {
  BrowseError,
  type BrowsedFile,
  type BrowsedFolder,
  type BrowsedPlace,
  type FileBrowser,
} from '../../http/file-browser.js';
import type { ExportLease } from '../../nbd/export-table.js';
import { onAbort } from '../../util/abort-callbacks.js';
import type { RegisteredExport } from '../export-registry.js';
import { listPage, volumeEntry, volumeKey } from './browsed-folder.js';
import { nameOfKey, pathOfKeys } from './browsed-names.js';
import { OpenedFilesystems } from './opened-filesystems.js';

/** The exports that are walked through. */
export interface BrowsedExports {
  readonly allExports: readonly RegisteredExport[];
  acquire(name: string, options: { readonly signal: AbortSignal }): Promise<ExportLease>;
}

/** Runs of zeros are sent in pieces of this. */
const ZEROS = new Uint8Array(65_536);

/** Answers for what lies in the image: the client asked for what is not there, or what cannot be read. */
const STATUS: Readonly<Record<FileErrorCode, number>> = {
  [FileErrorCode.NotFound]: 404,
  [FileErrorCode.NotDirectory]: 404,
  [FileErrorCode.IsDirectory]: 400,
  [FileErrorCode.TooManyLinks]: 404,
  [FileErrorCode.WrongKind]: 400,
  [FileErrorCode.Damaged]: 422,
  [FileErrorCode.Unsupported]: 422,
};

/**
 * Walks through the files of the exports that cannot be written, read-only and through their own devices and caches.
 * What can be written is refused: its filesystem changes while it is looked at, and holds in its clients' memory what no
 * look at the disk can show.
 */
export class ExportBrowser implements FileBrowser {
  readonly #opened = new OpenedFilesystems();
  readonly #underWay = new Map<AbortController, Promise<unknown>>();
  #exports: BrowsedExports | undefined;

  /** Begins to show these. */
  show(exports: BrowsedExports): void {
    this.#exports = exports;
  }

  /** Breaks off what is under way, and shows nothing any more. */
  async close(): Promise<void> {
    this.#exports = undefined;
    this.#opened.keepOnly(new Set());
    for (const controller of this.#underWay.keys()) controller.abort(stopping());
    await Promise.allSettled(this.#underWay.values());
  }

  list({ exportName, path }: BrowsedPlace, from: number, clientSignal: AbortSignal): Promise<BrowsedFolder> {
    return this.#borrow(exportName, clientSignal, async (device, signal) => {
      const [part, ...keys] = path;
      if (part === undefined) {
        const { volumes } = await readDiskLayout(device, signal);
        return { entries: volumes.map((volume) => volumeEntry(volume)), next: null };
      }
      const where = pathOfKeys(keys);
      const filesystem = await this.#open(exportName, part, device, signal);
      return listPage(filesystem, await filesystem.stat(where, { signal }), from, signal);
    });
  }

  read(
    { exportName, path }: BrowsedPlace,
    clientSignal: AbortSignal,
    use: (file: BrowsedFile) => Promise<void>,
  ): Promise<void> {
    return this.#borrow(exportName, clientSignal, async (device, signal) => {
      const [part, ...keys] = path;
      const last = keys.at(-1);
      if (part === undefined || last === undefined) throw new BrowseError(400, 'Name a file with p=.');
      const where = pathOfKeys(keys);
      const filesystem = await this.#open(exportName, part, device, signal);
      const stat = await filesystem.stat(where, { signal });
      if (stat.kind !== FileKind.File) {
        throw new BrowseError(400, `Cannot download ${JSON.stringify(last)}: it is no regular file.`);
      }
      const chunks = bytesOf(filesystem.readFile(stat, { signal }));
      await use({ name: nameOfKey(last).toString('utf8'), sizeBytes: stat.sizeBytes, chunks });
    });
  }

  /** Keeps the device of an export open while it is read, as for a client. */
  async #borrow<T>(
    name: string,
    clientSignal: AbortSignal,
    use: (device: BlockDevice, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const exports = this.#exports;
    if (exports === undefined)
      throw new BrowseError(503, 'The server is starting or stopping: no files now.');
    const all = exports.allExports;
    this.#opened.keepOnly(new Set(all.map(({ device }) => device)));
    const found = all.find((entry) => entry.name === name);
    if (found === undefined) throw new BrowseError(404, `No export is named ${JSON.stringify(name)}.`);
    if (found.device.write !== undefined) {
      throw new BrowseError(
        409,
        `Cannot show the files of ${JSON.stringify(name)}: its disk can be written, and changes while it is looked at. Commit it, and serve the snapshot.`,
      );
    }
    const controller = new AbortController();
    const leave = onAbort(clientSignal, () => controller.abort(clientSignal.reason));
    const { signal } = controller;
    const done = exports.acquire(name, { signal }).then(async (lease) => {
      try {
        signal.throwIfAborted();
        return await use(lease.device, signal);
      } catch (error) {
        throw signal.aborted ? signal.reason : forClients(error);
      } finally {
        lease.release(true);
      }
    });
    this.#underWay.set(controller, done);
    try {
      return await done;
    } finally {
      this.#underWay.delete(controller);
      leave();
    }
  }

  async #open(
    exportName: string,
    part: string,
    device: BlockDevice,
    signal: AbortSignal,
  ): Promise<Filesystem> {
    const key = `${part}/${exportName}`;
    const known = this.#opened.get(key, device);
    if (known !== undefined) return known;
    const { volumes } = await readDiskLayout(device, signal);
    const volume = volumes.find(({ number }) => volumeKey(number) === part);
    if (volume === undefined) {
      const all = volumes.map(({ number }) => volumeKey(number)).join(', ');
      throw new BrowseError(404, `The disk has no part ${JSON.stringify(part)}: it has ${all || 'none'}.`);
    }
    const filesystem = await openFilesystem(device, volume.range, { signal });
    this.#opened.add(key, { device, filesystem });
    return filesystem;
  }
}

/** What the image is to blame for goes to the client; anything else is the server's own trouble. */
function forClients(error: unknown): unknown {
  if (!(error instanceof FileError)) return error;
  return new BrowseError(STATUS[error.code], error.message, { cause: error });
}

function stopping(): BrowseError {
  return new BrowseError(503, 'The server is stopping: no files now.');
}

async function* bytesOf(chunks: AsyncIterable<ReadChunk>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    if (chunk instanceof Uint8Array) {
      if (chunk.length > 0) yield chunk;
      continue;
    }
    for (let left = chunk.zeroBytes; left > 0; left -= ZEROS.length) {
      yield left >= ZEROS.length ? ZEROS : ZEROS.subarray(0, left);
    }
  }
}
