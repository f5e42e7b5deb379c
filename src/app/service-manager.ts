import { spawn } from 'node:child_process';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';

/** A service manager that does not listen must not stop a server from serving. */
const NOTIFY_TIMEOUT_MS = 5000;

/** What is told to the service manager. [sd_notify(3)] */
export type ServiceState = 'READY=1' | 'RELOADING=1' | 'STOPPING=1';

/**
 * Tells systemd how far the server is, where it asked to be told (`NOTIFY_SOCKET`). Node.js has no datagram sockets of the unix
 * kind, so its own `systemd-notify` says it, or `socat` where there is none; the unit needs `NotifyAccess=all`. What goes
 * wrong is logged.
 *
 * @param status one line for people, shown by `systemctl status`.
 */
export async function notifyServiceManager(
  state: ServiceState,
  status: string,
  { environment, logger }: { readonly environment: NodeJS.ProcessEnv; readonly logger: Logger },
): Promise<void> {
  const { NOTIFY_SOCKET } = environment;
  if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return;
  // [sd_notify(3): RELOADING=1] Type=notify-reload wants to know since when.
  const monotonic = state === 'RELOADING=1' ? [`MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`] : [];
  const lines = [state, ...monotonic, `STATUS=${status}`];
  try {
    await run('systemd-notify', lines, undefined, environment);
  } catch (error) {
    try {
      const address = NOTIFY_SOCKET.startsWith('@')
        ? `ABSTRACT-SENDTO:${NOTIFY_SOCKET.slice(1)}`
        : `UNIX-SENDTO:${NOTIFY_SOCKET}`;
      await run('socat', ['-', address], lines.join('\n'), environment);
    } catch {
      logger.warn('the service manager could not be told: neither systemd-notify nor socat worked', {
        state,
        error: messageOf(error),
      });
    }
  }
}

function run(
  program: string,
  args: readonly string[],
  input: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env,
      stdio: ['pipe', 'ignore', 'ignore'],
      timeout: NOTIFY_TIMEOUT_MS,
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with status ${code ?? 'none'}`));
    });
    child.stdin.once('error', () => undefined);
    child.stdin.end(input);
  });
}
