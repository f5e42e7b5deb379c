import { constants } from 'node:fs';
import { lstat, open, opendir, readlink } from 'node:fs/promises';
import type { FileAttribute } from '../files/filesystem.js';
import { MountedAttributes } from './mounted-attributes.js';
import type { MountedStat } from './mounted-stat.js';

/** What is read at once of a file. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * Files of a filesystem that a kernel has mounted: this machine's, or that of a virtual machine. No call follows a link
 * that is the last part of a path. All of them reject with errors that have the `code` of a system error.
 */
export interface MountedFiles {
  /** What is known of a file. */
  stat(place: Buffer): Promise<MountedStat>;
  /** The names in a directory, without `.` and `..`, each as its bytes. */
  names(place: Buffer): AsyncIterable<Buffer>;
  /** The content of a regular file from `offset` on, in order, as long as asked for; less where the file ends. */
  read(place: Buffer, offset: number, lengthBytes: number): AsyncIterable<Buffer>;
  /** Where a symbolic link leads. */
  readLink(place: Buffer): Promise<Buffer>;
  /** Extended attributes; undefined where they cannot be read. */
  attributes(place: Buffer): Promise<readonly FileAttribute[] | undefined>;
}

/** What is mounted on a directory of this machine. */
export class MountedFolder implements MountedFiles {
  readonly #attributes = new MountedAttributes();

  stat(place: Buffer): Promise<MountedStat> {
    return lstat(place, { bigint: true });
  }

  async *names(place: Buffer): AsyncGenerator<Buffer> {
    // A character for each byte, whatever the names are written in.
    for await (const { name } of await opendir(place, { encoding: 'latin1' }))
      yield Buffer.from(name, 'latin1');
  }

  async *read(place: Buffer, offset: number, lengthBytes: number): AsyncGenerator<Buffer> {
    const handle = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const end = offset + lengthBytes;
      for (let at = offset; at < end;) {
        const bytes = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, at);
        if (bytesRead === 0) return;
        yield bytes.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      await handle.close();
    }
  }

  readLink(place: Buffer): Promise<Buffer> {
    return readlink(place, { encoding: 'buffer' });
  }

  attributes(place: Buffer): Promise<readonly FileAttribute[] | undefined> {
    return this.#attributes.read(place);
  }
}
