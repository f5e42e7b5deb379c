import { statSync } from 'node:fs';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { withRetry } from '../ebs/retry.js';
import { withVerification } from '../ebs/verify.js';
import type { Clock } from '../util/clock.js';
import { EnvironmentError } from '../util/errors.js';
import { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import { DEFAULT_API_IN_FLIGHT_MAX, type ApiSettings } from './settings.js';

/** The way to EBS, and what bounds it. */
export interface ApiConnection {
  /** Retries what is worth retrying. */
  readonly api: SnapshotApi;
  /** All fetches of blocks go through it. */
  readonly limiter: Limiter;
  /** Closes connections, and the emulator where there is one. */
  close(): Promise<void>;
}

/** The emulator verifies no signature, but refuses requests that have none. */
const EMULATOR_CREDENTIALS = { accessKeyId: 'EMULATOR', secretAccessKey: 'emulator' } as const;
const EMULATOR_REGION = 'us-east-1';

/**
 * Opens the way to EBS: the client over the SDK, or the embedded emulator behind that same client and a loopback
 * socket. Both are loaded here, when they are needed.
 *
 * @throws {EnvironmentError} where there is no region, no credentials, or no such emulator folder.
 */
export async function connectApi(
  settings: ApiSettings,
  { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
): Promise<ApiConnection> {
  const { createHttpSnapshotApi } = await import('../ebs/http-client.js');
  const inFlightMax = settings.inFlightMax ?? DEFAULT_API_IN_FLIGHT_MAX;
  const emulator =
    settings.emulatorDir === undefined ? undefined : await startEmbedded(settings.emulatorDir, logger);
  const client = await createHttpSnapshotApi({
    inFlightMax,
    logger,
    clock,
    ...(emulator === undefined
      ? { region: settings.region, profile: settings.profile, endpointUrl: settings.endpointUrl }
      : { region: EMULATOR_REGION, credentials: EMULATOR_CREDENTIALS, endpointUrl: emulator.url }),
  }).catch(async (error: unknown) => {
    await emulator?.close();
    throw error;
  });
  const retryTotalMs = settings.retryTotalMs;
  const api = withRetry(withVerification(client), retryTotalMs === undefined ? {} : { retryTotalMs }, {
    logger,
    clock,
  });
  return {
    api,
    limiter: new Limiter(inFlightMax),
    close: async () => {
      api.close();
      await emulator?.close();
    },
  };
}

async function startEmbedded(
  dir: string,
  logger: Logger,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new EnvironmentError(
      `Cannot open the emulator folder "${dir}": there is none. "snapnbd emulator import --dir ${dir} IMAGE" makes one.`,
    );
  }
  const { startEmulator } = await import('../emulator/server.js');
  return startEmulator({ dir, host: '127.0.0.1', port: 0, logger: logger.child({ emulator: dir }) });
}
