import { closeSync, writeSync } from 'node:fs';
import { usageFields } from '../ebs/cost.js';
import { systemClock } from '../util/clock.js';
import { EnvironmentError, messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { systemReason } from '../util/system-reason.js';
import type { readConfigFile as readsConfigFile } from './config/config-file.js';
import type { ExportSpec } from './export-spec.js';
import { startServer, type RunningServer } from './server-start.js';
import { notifyServiceManager } from './service-manager.js';
import type { ServeSettings } from './settings.js';
import { watchStopSignals } from './stop-signals.js';

export { createLogWriter } from './log-writer.js';
export { parseExportSpecs } from './export-spec.js';
export { httpSettingsOf } from './observing/http-settings.js';
export { parseAllowRule } from './on-demand/allow-rules.js';
export { parseListenAddress } from '../nbd/listen/listen-address.js';

/** Reads a configuration. What that needs takes longer to load than all else, and few servers have one. */
export const readConfigFile: typeof readsConfigFile = async (path, fields) => {
  const config = await import('./config/config-file.js');
  return config.readConfigFile(path, fields);
};

/** What `snapnbd serve` does, apart from reading its options. */
export interface ServeTask {
  readonly settings: ServeSettings;
  readonly logger: Logger;
  /** Gets a line for each request of a client. Default: none are written. */
  readonly trace?: Logger | undefined;
  /** Called once, when clients can connect and read. */
  readonly onReady: (uris: readonly string[]) => void;
  /** Reads again what the server was told. Default: there is nothing to be read but keys. */
  readonly reread?: () => Promise<RereadSettings>;
  /** How long clients have at the end, in milliseconds. Default: 10,000. */
  readonly drainTimeoutMs?: number | undefined;
  /** A descriptor that gets the URIs when the server is ready, and is closed then. Default: none. */
  readonly readyFd?: number | undefined;
}

/** What a configuration says when it is read again. */
export interface RereadSettings {
  readonly exports: readonly ExportSpec[];
  /** Options that are no longer what the server was started with. */
  readonly changedOptions: readonly string[];
}

/**
 * Serves until SIGTERM or SIGINT, then finishes what is in flight. SIGHUP reads certificates and keys again, and the
 * configuration where there is one. A service manager is told.
 *
 * @throws what {@link startServer} throws. A signal while it starts ends it without an error.
 */
export async function serveUntilStopped(task: ServeTask): Promise<void> {
  const { settings, logger, trace, onReady, readyFd, drainTimeoutMs } = task;
  const context = { environment: process.env, logger };
  const stop = watchStopSignals(process, logger);
  try {
    const server = await startServer(settings, { logger, trace, clock: systemClock, signal: stop.signal });
    // One after another: a list of exports is changed by one at a time.
    let reloading: Promise<void> = Promise.resolve();
    const reload = (): void => {
      reloading = reloading.then(async () => {
        await notifyServiceManager('RELOADING=1', 'reading the configuration again', context);
        await reloadAndTell(server, task);
        await notifyServiceManager('READY=1', 'serving', context);
      });
    };
    process.on('SIGHUP', reload);
    onReady(server.uris);
    if (readyFd !== undefined) tellReady(readyFd, server.uris);
    await notifyServiceManager('READY=1', 'serving', context);
    await untilAborted(stop.signal);
    process.off('SIGHUP', reload);
    const stopping = notifyServiceManager('STOPPING=1', 'finishing what is in flight', context);
    await reloading;
    await server.drain(drainTimeoutMs);
    await stopping;
    const usage = server.usage();
    if (usage !== undefined) logger.info('EBS direct APIs used', usageFields(usage));
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
  } finally {
    stop.dispose();
  }
}

/** @throws {EnvironmentError} when the descriptor cannot be written to. */
function tellReady(fd: number, uris: readonly string[]): void {
  try {
    writeSync(fd, uris.map((uri) => `${uri}\n`).join(''));
    closeSync(fd);
  } catch (error) {
    throw new EnvironmentError(`Cannot write to --ready-fd ${fd}: ${systemReason(error)}.`, { cause: error });
  }
}

async function reloadAndTell(server: RunningServer, { logger, reread }: ServeTask): Promise<void> {
  try {
    await server.reload();
    logger.info('certificates and keys were read again');
  } catch (error) {
    logger.error('certificates and keys could not be read again: the old ones stay', {
      error: messageOf(error),
    });
  }
  if (reread === undefined) return;
  try {
    const { exports, changedOptions } = await reread();
    const { added, replaced, removed, needRestart } = await server.changeExports(exports);
    logger.info('the configuration was read again', {
      added: added.join(' '),
      replaced: replaced.join(' '),
      removed: removed.join(' '),
    });
    if (needRestart.length > 0 || changedOptions.length > 0) {
      logger.warn('some of what changed needs a restart of the server', {
        exports: needRestart.join(' '),
        options: changedOptions.join(' '),
      });
    }
  } catch (error) {
    logger.error('the configuration could not be read again: everything stays as it was', {
      error: messageOf(error),
    });
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
