import { readFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import type { BlockDevice, ReadResult } from '../device/block-device.js';
import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { systemCodeOf } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';

/** A disk that is attached to this machine, read through its device or file. Made by {@link openDiskFile}. */
export class DiskFile implements BlockDevice {
  readonly sizeBytes: number;
  readonly #file: FileHandle;

  constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  async read(offset: number, lengthBytes: number): Promise<ReadResult> {
    const bytes = Buffer.alloc(lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      done += await this.#readSome(bytes, done, offset);
    }
    return [bytes];
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #readSome(bytes: Buffer, done: number, offset: number): Promise<number> {
    let readBytes: number;
    try {
      ({ bytesRead: readBytes } = await this.#file.read(bytes, done, bytes.length - done, offset + done));
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      throw new DeviceError(DeviceErrno.EIO, `Cannot read the disk: ${systemReason(error)}.`, {
        cause: error,
        offset,
      });
    }
    if (readBytes === 0) throw new DeviceError(DeviceErrno.EIO, 'Cannot read the disk: it ends too early.');
    return readBytes;
  }
}

/** Opens a device of the kernel, or a file. @throws a system error when it cannot be opened. */
export async function openDiskFile(path: string): Promise<DiskFile> {
  const file = await open(path, 'r');
  try {
    const stat = await file.stat();
    const sizeBytes = stat.isBlockDevice() ? deviceBytes(path) : stat.size;
    return new DiskFile(file, sizeBytes);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The kernel counts in sectors of 512 bytes, whatever those of the device are. */
function deviceBytes(path: string): number {
  return Number(readFileSync(`/sys/class/block/${basename(path)}/size`, 'utf8')) * 512;
}
