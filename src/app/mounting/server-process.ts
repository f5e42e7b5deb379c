import { spawn } from 'node:child_process';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onAbort } from '../../util/abort-callbacks.js';
import { EnvironmentError } from '../../util/errors.js';
import type { ApiSettings } from '../settings.js';

/** The log of the server, in the folder of the mount. */
const LOG_NAME = 'server.log';

/** What the server of a mount is started with. */
export interface ServerProcessTask {
  /** The program's own main file. */
  readonly mainPath: string;
  /** As an argument of `snapnbd serve`. */
  readonly exportText: string;
  readonly socket: string;
  readonly folder: string;
  readonly api: ApiSettings;
  /** Of forks. */
  readonly stateDir: string;
  /** Gives up waiting; the server is left to whoever asked for it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts `snapnbd serve` in the background, in a session of its own, so that it lives on when the terminal closes.
 *
 * @returns when clients can connect.
 * @throws {EnvironmentError} with the last line of its log when it ends instead.
 */
export async function startServerProcess(task: ServerProcessTask): Promise<void> {
  const { mainPath, exportText, socket, folder, api, stateDir, signal } = task;
  const logPath = join(folder, LOG_NAME);
  const log = openSync(logPath, 'a', 0o600);
  const args = [
    'serve',
    exportText,
    '--listen',
    `unix:${socket}`,
    '--state-dir',
    stateDir,
    ...apiArgumentsOf(api),
  ];
  const child = spawn(process.execPath, [...process.execArgv, mainPath, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', log],
  });
  closeSync(log);
  let leave = (): void => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => {
        const last = linesOf(folder).at(-1) ?? '';
        reject(
          new EnvironmentError(last.replace(/^snapnbd: /, '') || 'Cannot start the server: it says nothing.'),
        );
      });
      child.stdout?.once('data', () => resolve());
      leave = onAbort(signal, () => reject(new EnvironmentError('Cannot start the server: stopped.')));
    });
  } finally {
    leave();
    child.removeAllListeners();
    child.stdout?.destroy();
    child.unref();
  }
}

/** What the server of a mount has complained about last; undefined where it has not. */
export function lastComplaintOf(folder: string): string | undefined {
  return linesOf(folder)
    .findLast((line) => /^\S+ (warn|error) /.test(line))
    ?.replace(/^\S+ (warn|error) +/, '');
}

function linesOf(folder: string): readonly string[] {
  return readFileSync(join(folder, LOG_NAME), 'utf8').trim().split('\n');
}

/** The options of the command line that the settings came from, as far as `snapnbd serve` of one snapshot has a use for them. */
export function apiArgumentsOf(api: ApiSettings): readonly string[] {
  const options: readonly (readonly [string, string | number | undefined])[] = [
    ['--region', api.region],
    ['--aws-profile', api.profile],
    ['--endpoint-url', api.endpointUrl],
    ['--emulator', api.emulatorDir],
    ['--retry-timeout', api.retryTotalMs === undefined ? undefined : `${api.retryTotalMs}ms`],
    ['--max-inflight', api.inFlightMax],
    ['--get-rate', api.getsPerSecond],
    ['--max-cost', api.costMaxUsd],
    ['--prices', pricesText(api.prices)],
  ];
  return options.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

function pricesText(prices: ApiSettings['prices'] = {}): string | undefined {
  // Without powers of ten.
  const parts = Object.entries(prices).map(([name, usd]) => `${name}=${usd.toFixed(12)}`);
  return parts.length === 0 ? undefined : parts.join(',');
}
