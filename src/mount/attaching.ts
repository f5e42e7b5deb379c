import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ByteRange } from '../files/volume-reader.js';
import { EnvironmentError } from '../util/errors.js';
import { mustRunProgram, programEnvironment, runProgram } from './program.js';

/** Names in the folder of a mount. */
export const SOCKET_NAME = 'nbd.sock';
const FUSE_FOLDER = 'fuse';
const FUSE_FILE = 'disk';
/** nbdfuse connects and mounts within milliseconds; a busy machine may take longer. */
const FUSE_WAIT_MS = 30_000;
const FUSE_POLL_MS = 10;

/** What is attached, and how. */
export interface AttachTask {
  /** Of the mount; the socket of the server is in it. */
  readonly folder: string;
  readonly exportName: string;
  readonly isWritable: boolean;
  /** The volume on the disk. */
  readonly range: ByteRange;
  /** Called before and after a device of the kernel is taken. */
  readonly onDevice: (device: string | null) => void;
}

/**
 * Attaches an export of a server as a block device of this machine: by the kernel's nbd driver where there is one, else
 * by nbdfuse. A loop device then shows the volume alone, whether or not the kernel knows the partition table.
 *
 * @returns the device to mount.
 * @throws {EnvironmentError} that says what has to be installed.
 */
export async function attach(task: AttachTask): Promise<string> {
  const disk = (await attachByKernel(task)) ?? (await attachByFuse(task));
  const { offset, lengthBytes } = task.range;
  const access = task.isWritable ? [] : ['--read-only'];
  const range = ['--offset', String(offset), '--sizelimit', String(lengthBytes)];
  const stdout = await mustRunProgram(
    'losetup',
    ['--find', '--show', ...access, ...range, disk],
    'make a loop device of the volume',
  );
  return stdout.trim();
}

/** @returns undefined where the kernel has no nbd driver, or there is no nbd-client. */
async function attachByKernel({ folder, exportName, onDevice }: AttachTask): Promise<string | undefined> {
  if (!existsSync('/sys/block/nbd0')) await runProgram('modprobe', ['nbd']);
  if (!existsSync('/sys/block/nbd0')) return undefined;
  if ((await runProgram('nbd-client', ['-V'])).status === undefined) return undefined;
  let complaint = 'all of them are in use';
  for (const name of nbdNames()) {
    // A device has a pid while it is attached.
    if (existsSync(`/sys/block/${name}/pid`)) continue;
    const device = `/dev/${name}`;
    const socket = join(folder, SOCKET_NAME);
    const outcome = await runProgram('nbd-client', ['-unix', socket, device, '-N', exportName]);
    if (outcome.status === 0) {
      onDevice(device);
      return device;
    }
    complaint = outcome.complaint;
  }
  throw new EnvironmentError(`Cannot attach to a device /dev/nbdX: ${complaint}.`);
}

function nbdNames(): readonly string[] {
  return readdirSync('/sys/block')
    .filter((name) => /^nbd\d+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
}

async function attachByFuse({ folder, exportName, isWritable }: AttachTask): Promise<string> {
  if (!existsSync('/dev/fuse')) {
    throw new EnvironmentError(
      'Cannot attach the disk: the kernel has neither the nbd driver ("modprobe nbd") nor FUSE ("modprobe fuse").',
    );
  }
  const mountPoint = join(folder, FUSE_FOLDER);
  mkdirSync(mountPoint);
  const file = join(mountPoint, FUSE_FILE);
  const uri = `nbd+unix:///${encodeURIComponent(exportName)}?socket=${join(folder, SOCKET_NAME)}`;
  const access = isWritable ? [] : ['--readonly'];
  let failure: string | undefined;
  const child = spawn('nbdfuse', [...access, file, uri], {
    detached: true,
    stdio: 'ignore',
    env: programEnvironment(),
  });
  child.once('error', () => {
    failure = 'install nbdfuse (Debian: libnbd-bin; Fedora: libnbd) or the kernel driver nbd with nbd-client';
  });
  child.once('exit', (code) => {
    failure ??= `nbdfuse ended with ${code ?? 'a signal'}`;
  });
  child.unref();
  const deadlineMs = performance.now() + FUSE_WAIT_MS;
  while (!existsSync(file)) {
    if (failure !== undefined) throw new EnvironmentError(`Cannot attach the disk: ${failure}.`);
    if (performance.now() > deadlineMs)
      throw new EnvironmentError('Cannot attach the disk: nbdfuse does not answer.');
    await new Promise((resolve) => setTimeout(resolve, FUSE_POLL_MS));
  }
  child.removeAllListeners();
  return file;
}

/** What nbdfuse of a mount shows. */
export function fuseFileOf(folder: string): string {
  return join(folder, FUSE_FOLDER, FUSE_FILE);
}

/** Where it is mounted. */
export function fuseFolderOf(folder: string): string {
  return join(folder, FUSE_FOLDER);
}
