import { randomUUID } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { systemReason } from '../util/system-reason.js';
import { EnvironmentError } from '../util/errors.js';
import type { FindData } from './image-target.js';
import { ImageSupply } from './image-supply.js';
import { chunksOf, emptyError } from './stream-supply.js';
import { writeWhole } from '../util/whole-write.js';
import { TransferStep, type OnProgress } from './transfer-progress.js';
import { BLOCK_BYTES } from '../ebs/constants.js';

/** What a stream of unknown length is kept in. */
export interface SpoolOptions {
  readonly stream: Readable;
  /** For messages. */
  readonly name: string;
  /** The file is made in it, and has no name there any more as soon as it is open. */
  readonly folder: string;
  readonly findData: FindData;
  readonly onProgress: OnProgress;
}

/**
 * Keeps a stream on disk until its length is known, which StartSnapshot wants to be told. Chunks of zeros take no room.
 *
 * @throws {EnvironmentError} when it is empty, or there is no room; the signal's reason.
 */
export async function spool(options: SpoolOptions, signal: AbortSignal): Promise<ImageSupply> {
  const { stream, name, folder, findData, onProgress } = options;
  const handle = await openUnnamed(folder);
  try {
    let sizeBytes = 0;
    for await (const chunk of chunksOf(stream, name, signal)) {
      if (!isZeros(chunk)) await writeAt(handle, chunk, sizeBytes, folder);
      sizeBytes += chunk.length;
      const doneCount = Math.floor(sizeBytes / BLOCK_BYTES);
      onProgress({
        ...{ step: TransferStep.Spool, snapshotId: undefined },
        ...{ doneCount, totalCount: undefined, movedCount: doneCount },
      });
    }
    if (sizeBytes === 0) throw emptyError(name);
    await handle.truncate(sizeBytes);
    const supply = await ImageSupply.of(name, handle, findData);
    if (supply === undefined)
      throw new EnvironmentError(`Cannot keep ${name} in "${folder}": no file is made there.`);
    return supply;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openUnnamed(folder: string): Promise<FileHandle> {
  const path = join(folder, `stream-${randomUUID()}`);
  try {
    const handle = await open(path, 'wx+', 0o600);
    await rm(path);
    return handle;
  } catch (error) {
    throw spoolError(folder, error);
  }
}

async function writeAt(handle: FileHandle, chunk: Buffer, position: number, folder: string): Promise<void> {
  try {
    await writeWhole(handle, chunk, position);
  } catch (error) {
    throw spoolError(folder, error);
  }
}

function spoolError(folder: string, cause: unknown): EnvironmentError {
  return new EnvironmentError(
    `Cannot keep the image in "${folder}" until its size is known: ${systemReason(cause)}. Give the size with --volume-size, ` +
      'and nothing has to be kept, or another folder with --state-dir.',
    { cause },
  );
}

function isZeros(chunk: Buffer): boolean {
  // Compared with itself one byte further on: equal when all bytes are the same as the first.
  return chunk[0] === 0 && chunk.subarray(1).equals(chunk.subarray(0, -1));
}
