import { rmSync } from 'node:fs';
import { EnvironmentError } from '../util/errors.js';
import { fuseFileOf, detachFuse } from './fuse.js';
import { detachFromKernel, isAttached, untilReleased } from './kernel-nbd.js';
import type { MountRecord } from './mount-record.js';
import { backingFileOf, everythingMounted, type Mounted } from './mount-table.js';
import { endProcesses } from './processes.js';
import { mustRunProgram } from './program.js';

/**
 * Undoes a mount, or what there is of one: unmounts, detaches, ends the server, removes the folder. It finds what is
 * there rather than trusts how far the mount had come, so that it can be repeated, and works after a crash.
 *
 * @throws {EnvironmentError} when the filesystem is in use, or a step fails; then it can be tried again.
 */
export async function undoMount(record: MountRecord): Promise<void> {
  const { folder, nbdDevice } = record;
  await unmountOwn(record);
  await detachFuse(folder);
  await detachFromKernel(folder);
  // The mount(8) of a killed mount may get through with its work as late as this.
  if (nbdDevice !== null) await untilReleased(nbdDevice, () => ownMounts(record).length > 0);
  await unmountOwn(record);
  if (nbdDevice !== null) await untilReleased(nbdDevice, () => false);
  await endProcesses(folder);
  rmSync(folder, { recursive: true, force: true });
}

/** Unmounts only what is mounted from our own device: the directory may have been used for something else since. */
async function unmountOwn(record: MountRecord): Promise<void> {
  const { directory } = record;
  const own = ownMounts(record);
  const elsewhere = own.find(({ place }) => place !== directory);
  if (elsewhere !== undefined)
    throw inUse(directory, `its disk is mounted on "${elsewhere.place}" too`, elsewhere.place);
  if (own.length === 0) return;
  const top = everythingMounted().findLast(({ place }) => place === directory);
  if (top !== undefined && !isOwn(top.source, record))
    throw inUse(directory, `${top.source} is mounted on top of it`, directory);
  await mustRunProgram('umount', [directory], `unmount ${directory}`);
}

function inUse(directory: string, reason: string, blocking: string): EnvironmentError {
  return new EnvironmentError(
    `Cannot unmount "${directory}": ${reason}. Unmount that first: umount ${blocking}.`,
  );
}

/** What is mounted from its disk. A device that is neither attached nor mounted where it was may be somebody else's by now. */
function ownMounts(record: MountRecord): readonly Mounted[] {
  const own = everythingMounted().filter(({ source }) => isOwn(source, record));
  const isOurs = own.some(({ place }) => place === record.directory) || isAttached(record.folder);
  return isOurs ? own : own.filter(({ source }) => isOwn(source, { ...record, nbdDevice: null }));
}

/** True for the disk of the mount, a partition of it, or a loop device over it. */
function isOwn(source: string, { folder, nbdDevice }: MountRecord): boolean {
  const disk = backingFileOf(source) ?? source;
  if (disk === fuseFileOf(folder)) return true;
  return nbdDevice !== null && disk.replace(/p\d+$/, '') === nbdDevice;
}
