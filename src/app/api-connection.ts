import { mkdirSync, statSync } from 'node:fs';
import type { Ec2Api } from '../ec2/ec2-api.js';
import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { CallFigures, withCallFigures } from '../ebs/call-figures.js';
import { CostMeter, formatUsd, withCost, type ApiUsage } from '../ebs/cost.js';
import { withFlowControl } from '../ebs/flow-control.js';
import { withRetry } from '../ebs/retry.js';
import { withVerification } from '../ebs/verify.js';
import type { Clock } from '../util/clock.js';
import { EnvironmentError, systemCodeOf } from '../util/errors.js';
import { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import { systemReason } from '../util/system-reason.js';
import { DEFAULT_API_IN_FLIGHT_MAX, type ApiSettings } from './settings.js';

/** The way to EBS, and what bounds it. */
export interface ApiConnection {
  /** Retries what is worth retrying. */
  readonly api: SnapshotApi;
  /** All fetches of blocks go through it. Its bound finds its level by itself. */
  readonly limiter: Limiter;
  /** The same for all puts of blocks. */
  readonly putLimiter: Limiter;
  /** What was used so far. */
  readonly usage: () => ApiUsage;
  /** What became of its calls. */
  readonly figures: CallFigures;
  /** Counts what they cost. */
  readonly meter: CostMeter;
  /**
   * Opens EC2 in the same region and with the same credentials, where somebody needs it; whoever opens it closes it.
   *
   * @param region default: the same.
   * @throws {EnvironmentError} when the optional package for it is not installed; {EbsError}.
   */
  openEc2(region?: string): Promise<Ec2Api>;
  /** Closes connections, and the emulator where there is one. */
  close(): Promise<void>;
}

/** What a connection is given beside its settings. */
export interface ConnectionContext {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Make the emulator's folder where there is none: for whoever writes the first snapshot into it. Default: false. */
  readonly canMakeEmulator?: boolean;
  /** Counts the cost together with another connection, within that one's bound. Default: a count of its own. */
  readonly meter?: CostMeter;
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
  { logger, clock, canMakeEmulator = false, meter: sharedMeter }: ConnectionContext,
): Promise<ApiConnection> {
  const { createHttpSnapshotApi } = await import('../ebs/http-client.js');
  const inFlightMax = settings.inFlightMax ?? DEFAULT_API_IN_FLIGHT_MAX;
  const emulator =
    settings.emulatorDir === undefined
      ? undefined
      : await startEmbedded(settings.emulatorDir, canMakeEmulator, logger);
  const place =
    emulator === undefined
      ? { region: settings.region, profile: settings.profile, endpointUrl: settings.endpointUrl }
      : { region: EMULATOR_REGION, credentials: EMULATOR_CREDENTIALS, endpointUrl: emulator.url };
  const client = await createHttpSnapshotApi({ inFlightMax, logger, clock, ...place }).catch(
    async (error: unknown) => {
      await emulator?.close();
      throw error;
    },
  );
  const retryTotalMs = settings.retryTotalMs;
  const limiter = new Limiter(inFlightMax);
  const putLimiter = new Limiter(inFlightMax);
  const meter =
    sharedMeter ??
    new CostMeter({
      prices: settings.prices,
      maxUsd: settings.costMaxUsd,
      onRefusal: (maxUsd) =>
        logger.error('calls that cost more are refused from now on', { maxCost: formatUsd(maxUsd) }),
    });
  const figures = new CallFigures(clock);
  const counted = withCallFigures(withCost(withVerification(client), meter), figures);
  const paced = withFlowControl(counted, {
    gets: { limiter, perSecond: settings.getsPerSecond },
    puts: { limiter: putLimiter },
    clock,
  });
  const api = withRetry(paced, retryTotalMs === undefined ? {} : { retryTotalMs }, {
    logger,
    clock,
    observer: figures,
    getLimiter: limiter,
  });
  return {
    api,
    figures,
    meter,
    limiter,
    putLimiter,
    usage: () => meter.usage,
    openEc2: async (region = place.region) => {
      const { openEc2 } = await import('./ec2-connection.js');
      const endpointUrl = emulator?.url;
      return openEc2(
        { ...settings, ...(endpointUrl === undefined ? {} : { ec2EndpointUrl: endpointUrl }) },
        { ...place, region, retryTotalMs, logger, clock },
      );
    },
    close: async () => {
      api.close();
      await emulator?.close();
    },
  };
}

/** Makes the last part of the path alone: what is missing before that is a mistake in it. */
function makeFolder(dir: string): void {
  try {
    // Snapshots are somebody's disks.
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    throw new EnvironmentError(`Cannot make the emulator folder "${dir}": ${systemReason(error)}.`, {
      cause: error,
    });
  }
}

async function startEmbedded(
  dir: string,
  canMake: boolean,
  logger: Logger,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) {
    if (!canMake) {
      throw new EnvironmentError(
        `Cannot open the emulator folder "${dir}": there is none. "snapnbd emulator import --dir ${dir} IMAGE" makes one.`,
      );
    }
    makeFolder(dir);
  }
  const { startEmulator } = await import('../emulator/server.js');
  try {
    return await startEmulator({ dir, host: '127.0.0.1', port: 0, logger: logger.child({ emulator: dir }) });
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    // It has a lock and figures of its own to write, also for whoever only reads.
    throw new EnvironmentError(`Cannot open the emulator folder "${dir}": ${systemReason(error)}.`, {
      cause: error,
    });
  }
}
