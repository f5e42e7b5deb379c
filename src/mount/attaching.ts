import { existsSync } from 'node:fs';
import type { ByteRange } from '../files/volume-reader.js';
import type { AttachTask } from './attach-task.js';
import { attachByFuse } from './fuse.js';
import { attachByKernel, kernelPartition } from './kernel-nbd.js';
import { runProgram } from './program.js';

/** A disk as this machine has it: a device of the kernel's nbd driver, or a file that nbdfuse shows. */
export interface AttachedDisk {
  readonly path: string;
  readonly isDevice: boolean;
}

/** What mount(8) is told of a volume. */
export interface MountSource {
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * Attaches an export of a server to this machine: by the kernel's nbd driver where there is one, else by nbdfuse.
 *
 * @throws {EnvironmentError} that says what has to be installed.
 */
export async function attachDisk(task: AttachTask): Promise<AttachedDisk> {
  const device = await attachByKernel(task);
  if (device !== undefined) return { path: device, isDevice: true };
  return { path: await attachByFuse(task), isDevice: false };
}

/**
 * Says how a part of an attached disk is mounted: the device itself, the partition that the kernel found there, or else
 * a loop device, which mount(8) makes and the kernel takes away with the mount, or with a mount that was killed.
 */
export async function mountSourceOf(
  { path, isDevice }: AttachedDisk,
  range: ByteRange | undefined,
): Promise<MountSource> {
  if (isDevice) {
    if (range === undefined) return { source: path, options: [] };
    const partition = await kernelPartition(path, range);
    if (partition !== undefined) return { source: partition, options: [] };
  }
  if (!existsSync('/dev/loop-control')) await runProgram('modprobe', ['loop']);
  const part = range === undefined ? [] : [`offset=${range.offset}`, `sizelimit=${range.lengthBytes}`];
  return { source: path, options: ['loop', ...part] };
}
