import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { SOCKET_NAME, type AttachTask } from './attach-task.js';
import { commandLineOf, processesNaming } from './processes.js';
import { runProgram, type ProgramOutcome } from './program.js';
import { becomesTrue } from './waiting.js';

/** The device has its size when the driver has the connection, milliseconds after nbd-client. */
const DEVICE_WAIT_MS = 30_000;
/** nbd-client ends as soon as the driver has let go of the connection, and whoever reads the device gets an error then. */
const DETACH_WAIT_MS = 20_000;
const DETACH_RETRY_MS = 1000;

/**
 * Attaches an export to the next free device of the kernel's nbd driver. A process stays, and the device with it as long
 * as it lives: its command line names the folder of the mount, by which the device can be told from those of others,
 * whatever was killed before that could be written down.
 *
 * @returns the device, or undefined where the kernel has no nbd driver, or there is no nbd-client.
 * @throws {EnvironmentError} when no device can be had; the signal's reason when it aborts.
 */
export async function attachByKernel(task: AttachTask): Promise<string | undefined> {
  if (!existsSync('/sys/block/nbd0')) await runProgram('modprobe', ['nbd']);
  if (!existsSync('/sys/block/nbd0')) return undefined;
  const socket = join(task.folder, SOCKET_NAME);
  let complaint = 'all of them are in use';
  for (const name of nbdNames()) {
    // A device has a pid while it is attached.
    if (existsSync(`/sys/block/${name}/pid`)) continue;
    const device = `/dev/${name}`;
    task.onDevice(device);
    const outcome = await runNbdClient(['-unix', socket, device, '-N', task.exportName]);
    if (outcome.status === undefined) {
      task.onDevice(null);
      return undefined;
    }
    const isDecided = (): boolean => isReady(name) || task.signal?.aborted === true;
    const isOurs = outcome.status === 0 && (await becomesTrue(isDecided, DEVICE_WAIT_MS));
    task.signal?.throwIfAborted();
    if (isOurs) return device;
    // Another mount may have been faster: the next one, then.
    complaint = outcome.complaint || 'it does not become ready';
    await detachFromKernel(task.folder);
  }
  task.onDevice(null);
  throw new EnvironmentError(`Cannot attach to a device /dev/nbdX: ${complaint.replace(/\.$/, '')}.`);
}

/** Detaches the devices that are attached to the server of a mount. Others that were taken since are left alone. */
export async function detachFromKernel(folder: string): Promise<void> {
  const isDone = (): boolean => clientsOf(folder).length === 0;
  // Of one that is about to attach it fails, hence again and again; whatever is left is ended with the server.
  for (let waitedMs = 0; waitedMs < DETACH_WAIT_MS && !isDone(); waitedMs += DETACH_RETRY_MS) {
    for (const { parts } of clientsOf(folder)) {
      const device = parts.find((part) => /^\/dev\/nbd\d+$/.test(part));
      if (device !== undefined) await runNbdClient(['-d', device]);
    }
    await becomesTrue(isDone, DETACH_RETRY_MS);
  }
}

/**
 * Waits until a device whose nbd-client has ended is free again: the driver lets go of it when the last process that has it
 * open closes it, which may be a program that a killed mount has left behind. A device that was taken since is left alone.
 *
 * @param isEnough gives up earlier.
 */
export async function untilReleased(device: string, isEnough: () => boolean): Promise<void> {
  await becomesTrue(() => isEnough() || !isBeingReleased(device), DETACH_WAIT_MS);
}

/** An ending process has no command line from before it closes its files: that it is gone says nothing of the device. */
function isBeingReleased(device: string): boolean {
  const pid = numberIn(`/sys/block/${device.slice('/dev/'.length)}/pid`);
  return pid !== undefined && commandLineOf(pid).every((part) => part === '');
}

/** Whether a device is attached to the server of a mount. */
export function isAttached(folder: string): boolean {
  return clientsOf(folder).length > 0;
}

/** By ioctl: a device that is attached by netlink lives without a process, and nothing would tell whose it is. */
async function runNbdClient(args: readonly string[]): Promise<ProgramOutcome> {
  const outcome = await runProgram('nbd-client', [...args, '-nonetlink']);
  // One that was built without netlink does not know the option, nor need it.
  return outcome.complaint.includes('option') ? runProgram('nbd-client', args) : outcome;
}

/**
 * The device of a part of an attached disk, as the kernel found it in the partition table.
 *
 * @returns undefined where it found none like that.
 */
export async function kernelPartition(
  disk: string,
  range: { readonly offset: number; readonly lengthBytes: number },
): Promise<string | undefined> {
  const name = disk.slice('/dev/'.length);
  await runProgram('blockdev', ['--rereadpt', disk]);
  const found = readdirSync(`/sys/block/${name}`).find((part) => {
    if (!part.startsWith(`${name}p`)) return false;
    const [start, size] = ['start', 'size'].map((field) => numberIn(`/sys/block/${name}/${part}/${field}`));
    return start === range.offset / 512 && size === range.lengthBytes / 512;
  });
  return found !== undefined && existsSync(`/dev/${found}`) ? `/dev/${found}` : undefined;
}

/** Processes of nbd-client that name the folder of a mount. */
function clientsOf(folder: string): ReturnType<typeof processesNaming> {
  return processesNaming(folder).filter(({ parts }) => /(^|\/)nbd-client$/.test(parts[0] ?? ''));
}

function isReady(name: string): boolean {
  return existsSync(`/sys/block/${name}/pid`) && (numberIn(`/sys/block/${name}/size`) ?? 0) > 0;
}

function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
}

function nbdNames(): readonly string[] {
  return readdirSync('/sys/block')
    .filter((name) => /^nbd\d+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
}
