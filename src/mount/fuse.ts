import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { EnvironmentError } from '../util/errors.js';
import { SOCKET_NAME, type AttachTask } from './attach-task.js';
import { isMounted } from './mount-table.js';
import { mustRunProgram, programEnvironment } from './program.js';
import { becomesTrue } from './waiting.js';

const FUSE_FOLDER = 'fuse';
const FUSE_FILE = 'disk';
/** nbdfuse connects and mounts within milliseconds; a busy machine may take longer. */
const FUSE_WAIT_MS = 30_000;

/**
 * Shows an export as a file, by nbdfuse.
 *
 * @returns the path of the file.
 * @throws {EnvironmentError} that says what has to be installed; the signal's reason when it aborts.
 */
export async function attachByFuse({ folder, exportName, isWritable, signal }: AttachTask): Promise<string> {
  if (!existsSync('/dev/fuse')) {
    throw new EnvironmentError(
      'Cannot attach the disk: the kernel has neither the nbd driver ("modprobe nbd", with nbd-client installed) nor FUSE ("modprobe fuse").',
    );
  }
  mkdirSync(join(folder, FUSE_FOLDER));
  const file = fuseFileOf(folder);
  const uri = `nbd+unix:///${encodeURIComponent(exportName)}?socket=${encodeURIComponent(join(folder, SOCKET_NAME))}`;
  const access = isWritable ? [] : ['--readonly'];
  let failure: string | undefined;
  const child = spawn('nbdfuse', [...access, file, uri], {
    detached: true,
    stdio: 'ignore',
    env: programEnvironment(),
  });
  child.once('error', () => {
    failure =
      'install nbdfuse (Debian: libnbd-bin; Fedora: nbdfuse), or load the kernel driver nbd and install nbd-client';
  });
  child.once('exit', (code) => {
    failure ??= `nbdfuse ended with ${code ?? 'a signal'}`;
  });
  child.unref();
  const isDecided = (): boolean => failure !== undefined || signal?.aborted === true || existsSync(file);
  const hasCome = await becomesTrue(isDecided, FUSE_WAIT_MS);
  child.removeAllListeners();
  signal?.throwIfAborted();
  if (failure !== undefined || !hasCome) {
    throw new EnvironmentError(`Cannot attach the disk: ${failure ?? 'nbdfuse does not answer'}.`);
  }
  return file;
}

/** What nbdfuse of a mount shows. */
export function fuseFileOf(folder: string): string {
  return join(folder, FUSE_FOLDER, FUSE_FILE);
}

/** Takes away what nbdfuse of a mount shows. nbdfuse itself ends with that, if it has not crashed before. */
export async function detachFuse(folder: string): Promise<void> {
  for (const place of [fuseFileOf(folder), join(folder, FUSE_FOLDER)]) {
    // One that has crashed leaves a mount that only a lazy unmount takes away.
    if (isMounted(place)) await mustRunProgram('umount', ['--lazy', place], `unmount ${place}`);
  }
}
