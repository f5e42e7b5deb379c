import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../../util/errors.js';
import { syncFolder } from './file-io.js';
import type { StoreLayout } from './layout.js';

/** A folder in which a snapshot is made, until it is published under its name or thrown away. */
export interface TemporaryFolder {
  readonly path: string;
  /** Makes it the snapshot's folder: whole, durable, at once. */
  publish(snapshotId: string): Promise<void>;
  discard(): Promise<void>;
}

/** Makes an empty folder that {@link removeAbandoned} leaves alone as long as this process runs. */
export async function makeTemporaryFolder(layout: StoreLayout): Promise<TemporaryFolder> {
  const name = `${process.pid}.${(await startTimeOf(process.pid)) ?? 0}.${randomBytes(6).toString('hex')}`;
  const path = join(layout.temporaryDir, name);
  await mkdir(path, { mode: 0o700 });
  return {
    path,
    publish: async (snapshotId) => {
      await syncFolder(path);
      await rename(path, layout.snapshotDir(snapshotId));
      await syncFolder(layout.snapshotsDir);
    },
    discard: () => rm(path, { recursive: true, force: true }),
  };
}

/** Removes the folders of makers that are gone. */
export async function removeAbandoned(layout: StoreLayout): Promise<void> {
  for (const name of await readdir(layout.temporaryDir)) {
    const [pid, startTime] = name.split('.').map(Number);
    if (pid !== undefined && (await isRunning(pid, startTime ?? 0))) continue;
    await rm(join(layout.temporaryDir, name), { recursive: true, force: true });
  }
}

async function isRunning(pid: number, startTime: number): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCodeOf(error) === 'ESRCH') return false;
  }
  const actual = await startTimeOf(pid);
  return actual === undefined || startTime === 0 || actual === startTime;
}

/**
 * When a process started, in the kernel's ticks, which tells it from a later process with the same id; undefined
 * where there is no /proc.
 */
async function startTimeOf(pid: number): Promise<number | undefined> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return undefined;
    throw error;
  }
  // The command's name, in parentheses, may hold anything; the 22nd field counts from behind it.
  const startTime = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]);
  return Number.isSafeInteger(startTime) ? startTime : undefined;
}
