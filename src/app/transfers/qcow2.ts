import { spawn } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';

const PROGRAM = 'qemu-img';
const SAID_CHARACTERS_MAX = 500;

/** @throws {EnvironmentError} when qemu-img is not installed. */
export async function requireQemuImg(): Promise<void> {
  await run(['--version']);
}

/**
 * Makes a qcow2 image of a raw one, compares the two, and brings it to the disk.
 *
 * @returns `path`.
 * @throws {EnvironmentError} with what qemu-img said; the signal's reason.
 */
export async function convertToQcow2(rawPath: string, path: string, signal: AbortSignal): Promise<string> {
  // Private as the raw one is, before there is anything in it.
  await rm(path, { force: true });
  await (await open(path, 'wx', 0o600)).close();
  await run(['convert', '-f', 'raw', '-O', 'qcow2', rawPath, path], signal);
  await run(['compare', '-q', '-f', 'raw', '-F', 'qcow2', rawPath, path], signal);
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  return path;
}

async function run(args: readonly string[], signal?: AbortSignal): Promise<void> {
  const child = spawn(PROGRAM, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_CHARACTERS_MAX);
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw new EnvironmentError(
      systemCodeOf(error) === 'ENOENT'
        ? 'Cannot write qcow2: qemu-img is not installed. Install it (apt install qemu-utils), or use --format raw.'
        : `Cannot run qemu-img: ${systemReason(error)}.`,
      { cause: error },
    );
  });
  signal?.throwIfAborted();
  if (status !== 0) {
    throw new EnvironmentError(
      `Cannot write qcow2: qemu-img ${args[0] ?? ''} ended with status ${status ?? '?'}: ${said.trim().replaceAll('\n', ' ')}. ` +
        'Run the same command again: what was downloaded is kept.',
    );
  }
}
