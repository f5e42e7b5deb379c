import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { messageOf, systemCodeOf } from '../../util/errors.js';
import { formatBytes, GIB } from '../../util/units.js';
import { defaultStateDir } from '../../writer/fork-folders.js';
import type { ForkSettings } from '../settings.js';
import { fail, ok, skip, warn, type Finding } from './finding.js';

/** Of the package: what it needs at least. */
const NODE_MIN = [20, 19] as const;

/** Beside the calls in flight: 128 clients, files of the cache and of forks. */
const DESCRIPTORS_SPARE = 512;

/** Below, a write of one busy hour may fill it. */
const FREE_MIN_BYTES = GIB;

/** What is looked at on this machine. */
export interface MachineExamination {
  readonly forks: ForkSettings;
  readonly cacheDir?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  readonly inFlightMax: number;
}

/** Node.js, the ways to attach a disk, the programs that some commands use, space, and the limit of open files. */
export function examineMachine(examination: MachineExamination): Promise<Finding[]> {
  const { environment, cacheDir, forks, inFlightMax } = examination;
  return Promise.resolve([
    examineNode(process.versions.node),
    examineKernelDriver(),
    examineFuse(),
    ...PROGRAMS.map(([program, use, remedy]) =>
      isInstalled(program, environment)
        ? ok(program, `installed (${use})`)
        : warn(program, `not installed (${use})`, remedy),
    ),
    examineSpace('state folder', resolve(forks.stateDir ?? defaultStateDir(environment))),
    ...(cacheDir === undefined ? [] : [examineSpace('cache folder', resolve(cacheDir))]),
    examineDescriptors(inFlightMax + DESCRIPTORS_SPARE),
  ]);
}

const PROGRAMS = [
  ['nbd-client', 'attaching to the kernel, mount', 'apt-get install nbd-client'],
  ['nbdfuse', 'mount without the kernel driver', 'apt-get install libnbd-bin'],
  ['qemu-img', 'download --format qcow2', 'apt-get install qemu-utils'],
] as const;

function examineNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isEnough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  if (!isEnough) return fail('Node.js', version, `install Node.js ${NODE_MIN.join('.')} or newer`);
  return ok('Node.js', version);
}

function examineKernelDriver(): Finding {
  const check = 'kernel module nbd';
  if (process.platform !== 'linux') return skip(check, `there is none on ${process.platform}`);
  if (existsSync('/sys/module/nbd')) return ok(check, 'loaded');
  return warn(check, 'not loaded (attaching as /dev/nbdX)', 'sudo modprobe nbd max_part=15');
}

function examineFuse(): Finding {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return ok('FUSE', '/dev/fuse can be used');
  } catch (error) {
    const isRefused = systemCodeOf(error) === 'EACCES';
    const remedy = isRefused ? 'sudo chmod a+rw /dev/fuse' : 'sudo modprobe fuse; apt-get install fuse3';
    return warn('FUSE', `/dev/fuse: ${messageOf(error)}`, remedy);
  }
}

/** Of the file system on which the folder is, or would be. */
function examineSpace(check: string, dir: string): Finding {
  let there = dir;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  try {
    accessSync(there, constants.W_OK);
    const { bavail, bsize } = statfsSync(there);
    const freeBytes = bavail * bsize;
    const text = `${dir}: ${formatBytes(freeBytes)} free`;
    return freeBytes < FREE_MIN_BYTES
      ? warn(check, text, 'free space there, or name another folder')
      : ok(check, text);
  } catch (error) {
    return warn(check, `${dir}: ${messageOf(error)}`, 'name a folder that this user may write to');
  }
}

/** [proc(5): /proc/PID/limits] */
function examineDescriptors(wanted: number): Finding {
  const check = 'open files';
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return skip(check, 'this system does not say how many there may be');
  }
  const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(text) ?? [];
  const limit = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  if (Number.isNaN(limit)) return skip(check, 'this system does not say how many there may be');
  if (limit >= wanted) return ok(check, `at most ${soft}`);
  return warn(check, `at most ${soft}, of which ${wanted} may be needed`, `ulimit -n ${wanted * 2}`);
}

function isInstalled(program: string, { PATH = '' }: NodeJS.ProcessEnv): boolean {
  return [...PATH.split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
