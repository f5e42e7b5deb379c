import { closeSync, openSync } from 'node:fs';
import { onAbort } from '../../util/abort-callbacks.js';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import type { VolumeContents } from '../../files/recognition/contents.js';
import { openMountedFiles, type MountedFilesystem } from '../mounted-filesystem.js';
import { programEnvironment, runProgram } from '../program.js';
import { GuestfishFiles } from './guestfish-files.js';
import { GuestfishSession } from './guestfish-session.js';
import { GuestfishError } from './guestfish-text.js';

/** A disk whose whole is one filesystem, and what it is read with. */
export interface GuestfishTask {
  /** A unix socket on which the disk is served by NBD. */
  readonly socket: string;
  readonly contents: VolumeContents | undefined;
  /** Where it may leave files while it runs. */
  readonly folder: string;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface OpenedByGuestfish {
  readonly filesystem: MountedFilesystem;
  readonly close: () => Promise<void>;
}

/** With KVM it takes some seconds. Where KVM is there and does not work, it never comes to an end. */
const KVM_START_MAX_MS = 60_000;
/** Emulated, on a machine that is busy, several minutes. */
const START_MAX_MS = 600_000;
const FORCE_TCG = { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' } as const;

/** Whether guestfish is installed. */
export async function hasGuestfish(): Promise<boolean> {
  return (await runProgram('guestfish', ['--version'])).status === 0;
}

/**
 * Opens a filesystem in a virtual machine of libguestfs. Linux mounts it there read-only, of a disk whose changes are
 * kept nowhere: journals are replayed. Where it has not started in a minute with KVM, it is started without.
 *
 * @throws {EnvironmentError} in one line when that machine does not start, or cannot mount it; the signal's reason.
 */
export async function openByGuestfish(task: GuestfishTask): Promise<OpenedByGuestfish> {
  // Nobody but the user knows better whether KVM works here.
  const mayForce = process.env.LIBGUESTFS_BACKEND_SETTINGS === undefined;
  const settings = mayForce ? (canUseKvm() ? [{}, FORCE_TCG] : [FORCE_TCG]) : [{}];
  for (const [index, setting] of settings.entries()) {
    const isLast = index === settings.length - 1;
    const limitMs = isLast ? START_MAX_MS : KVM_START_MAX_MS;
    const opened = await openWithin(limitMs, { ...environmentOf(task.folder), ...setting }, task);
    if (opened !== undefined) return opened;
  }
  throw new EnvironmentError(
    `Cannot read ${task.contents?.type ?? 'it'} by libguestfs: its virtual machine has not started in ${START_MAX_MS / 60_000} minutes. "libguestfs-test-tool" says what it lacks.`,
  );
}

/** @returns undefined when it takes longer than the limit. */
async function openWithin(
  limitMs: number,
  env: NodeJS.ProcessEnv,
  { socket, contents, signal }: GuestfishTask,
): Promise<OpenedByGuestfish | undefined> {
  const disk = ['--ro', '--format=raw', '-a', `nbd://?socket=${encodeURIComponent(socket)}`];
  // It keeps what it writes to a pipe to itself until it ends, unless it is told otherwise.
  const session = new GuestfishSession(['stdbuf', '-oL', 'guestfish', ...disk], env);
  const close = (): Promise<void> => session.close();
  const leave = onAbort(signal, () => void close());
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort();
    void close();
  }, limitMs);
  try {
    await session.run('run');
    clearTimeout(timer);
    await session.run('mount-ro /dev/sda /');
    const filesystem = await openMountedFiles(new GuestfishFiles(session), Buffer.alloc(0), contents);
    return { filesystem, close };
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    if (late.signal.aborted) return undefined;
    if (!(error instanceof GuestfishError)) throw error;
    throw new EnvironmentError(
      `Cannot read ${contents?.type ?? 'it'} by libguestfs: ${error.message}. "libguestfs-test-tool" says what it lacks.`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
    leave();
  }
}

/** What the user has set goes first. */
function environmentOf(folder: string): NodeJS.ProcessEnv {
  return {
    LIBGUESTFS_BACKEND: 'direct',
    ...programEnvironment(),
    LIBGUESTFS_TMPDIR: folder,
    // They write where complaints are expected.
    LIBGUESTFS_DEBUG: '0',
    LIBGUESTFS_TRACE: '0',
  };
}

/** There may be a device without a driver behind it, on which qemu gives up rather than do without. */
function canUseKvm(): boolean {
  try {
    closeSync(openSync('/dev/kvm', 'r+'));
    return true;
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return false;
  }
}
