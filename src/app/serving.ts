import { usageFields } from '../ebs/cost.js';
import { systemClock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { startServer, type RunningServer } from './server-start.js';
import type { ServeSettings } from './settings.js';
import { watchStopSignals } from './stop-signals.js';

export { createLogWriter } from './log-writer.js';
export { parseExportSpecs } from './export-spec.js';
export { parseListenAddress } from '../nbd/listen/listen-address.js';

/** What `snapnbd serve` does, apart from reading its options. */
export interface ServeTask {
  readonly settings: ServeSettings;
  readonly logger: Logger;
  /** Called once, when clients can connect and read. */
  readonly onReady: (uris: readonly string[]) => void;
}

/**
 * Serves until SIGTERM or SIGINT, then finishes what is in flight. SIGHUP reads certificates and keys again.
 *
 * @throws what {@link startServer} throws. A signal while it starts ends it without an error.
 */
export async function serveUntilStopped({ settings, logger, onReady }: ServeTask): Promise<void> {
  const stop = watchStopSignals(process, logger);
  try {
    const server = await startServer(settings, { logger, clock: systemClock, signal: stop.signal });
    const reload = (): void => void reloadAndTell(server, logger);
    process.on('SIGHUP', reload);
    onReady(server.uris);
    await untilAborted(stop.signal);
    process.off('SIGHUP', reload);
    await server.drain();
    const usage = server.usage();
    if (usage !== undefined) logger.info('EBS direct APIs used', usageFields(usage));
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
  } finally {
    stop.dispose();
  }
}

async function reloadAndTell(server: RunningServer, logger: Logger): Promise<void> {
  try {
    await server.reload();
    logger.info('certificates and keys were read again');
  } catch (error) {
    logger.error('certificates and keys could not be read again: the old ones stay', {
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
