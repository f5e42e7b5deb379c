import { read, write } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Thrown when a file ends before the bytes that must be there. */
export class ShortFileError extends Error {
  override readonly name = 'ShortFileError';
}

/**
 * Reads as many bytes as `target` holds, from `position` on.
 *
 * @returns the bytes that were there: fewer than asked for only at the end of the file.
 */
export async function readSome(fd: number, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const count = await readOnce(fd, target, done, position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Fills `target` from `position` on. @throws {ShortFileError} when the file ends before. */
export async function readFully(fd: number, target: Uint8Array, position: number): Promise<void> {
  const count = await readSome(fd, target, position);
  if (count < target.length) {
    throw new ShortFileError(
      `the file ends ${target.length - count} bytes before byte ${position + target.length}`,
    );
  }
}

/** Writes all of `bytes` at `position`. */
export async function writeFully(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) done += await writeOnce(fd, bytes, done, position + done);
}

// The callbacks of `node:fs` cost about half of what a FileHandle's promises do, and blocks pass here.
function readOnce(fd: number, target: Uint8Array, start: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, target, start, target.length - start, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

function writeOnce(fd: number, bytes: Uint8Array, start: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, start, bytes.length - start, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  await withFile(folder, 'r', (handle) => handle.sync());
}

/**
 * Replaces a small file as a whole: a reader, and a crash at any moment, finds the old or the new one. One process
 * at a time may do so.
 */
export async function replaceFile(path: string, contents: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  try {
    await withFile(temporary, 'w', async (handle) => {
      await handle.writeFile(contents);
      await handle.sync();
    });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Opens a file (0600 when it is made), hands it over, and closes it however that ends. */
export async function withFile<T>(
  path: string,
  flags: string,
  use: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const handle = await open(path, flags, 0o600);
  try {
    return await use(handle);
  } finally {
    await handle.close();
  }
}
