import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { EnvironmentError } from '../util/errors.js';
import { fuseFileOf, fuseFolderOf } from './attaching.js';
import type { MountRecord } from './mount-record.js';
import { mustRunProgram, runProgram } from './program.js';

/** A server that is told to stop finishes what is in flight within 10 s. */
const STOP_WAIT_MS = 20_000;
const POLL_MS = 20;

/**
 * Undoes a mount, or what there is of one: unmounts, detaches, ends the server, removes the folder. It finds what is
 * there rather than trusts how far the mount had come, so that it can be repeated, and works after a crash.
 *
 * @throws {EnvironmentError} when the filesystem is in use, or a step fails; then it can be tried again.
 */
export async function undoMount(record: MountRecord): Promise<void> {
  const { directory, folder, nbdDevice } = record;
  const disks = [fuseFileOf(folder), ...(nbdDevice === null ? [] : [nbdDevice])];
  const loops: string[] = [];
  for (const disk of disks) loops.push(...(await loopsOf(disk)));
  // Only what is mounted from our own device: the directory may have been used for something else since.
  if (loops.some((loop) => isMounted(directory, loop))) {
    await mustRunProgram('umount', [directory], `unmount ${directory}`);
  }
  for (const loop of loops) await mustRunProgram('losetup', ['--detach', loop], `detach ${loop}`);
  if (nbdDevice !== null) await mustRunProgram('nbd-client', ['-d', nbdDevice], `detach ${nbdDevice}`);
  if (isMounted(fuseFolderOf(folder)) || isMounted(fuseFileOf(folder))) {
    // A server that has crashed leaves a mount that only a lazy unmount takes away.
    for (const place of [fuseFileOf(folder), fuseFolderOf(folder)]) {
      if (isMounted(place)) await mustRunProgram('umount', ['--lazy', place], `unmount ${place}`);
    }
  }
  await endProcesses(folder);
  rmSync(folder, { recursive: true, force: true });
}

/** Loop devices over a file or device. */
async function loopsOf(disk: string): Promise<readonly string[]> {
  const { stdout } = await runProgram('losetup', ['--noheadings', '--output', 'NAME,BACK-FILE', '--list']);
  return stdout
    .split('\n')
    .map((line) => /^(\S+)\s+(.*)$/.exec(line.trim()))
    .filter((match) => match?.[2] === disk)
    .map((match) => match?.[1] ?? '');
}

/** True when something, or that source, is mounted there. */
export function isMounted(place: string, source?: string): boolean {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return lines.some((line) => {
    const [from, on] = line.split(' ').map(unescapeOctal);
    return on === place && (source === undefined || from === source);
  });
}

function unescapeOctal(text: string): string {
  const bytes = text.replace(/\\(\d{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return bytes;
}

/** The server and nbdfuse: whatever names the folder of the mount, which nothing else does. */
async function endProcesses(folder: string): Promise<void> {
  for (const pid of processesNaming(folder)) signal(pid, 'SIGTERM');
  const deadlineMs = performance.now() + STOP_WAIT_MS;
  while (processesNaming(folder).length > 0) {
    if (performance.now() > deadlineMs) {
      for (const pid of processesNaming(folder)) signal(pid, 'SIGKILL');
      if (performance.now() > deadlineMs + STOP_WAIT_MS) {
        throw new EnvironmentError(`Cannot end the server of ${folder}: try again.`);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function processesNaming(folder: string): readonly number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    if (commandLineOf(pid).some((part) => part.includes(`${folder}/`))) found.push(pid);
  }
  return found;
}

/** Empty for a process that has ended, or is ending. */
function commandLineOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself meanwhile.
  }
}
