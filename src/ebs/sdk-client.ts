import { EBSClient, type EBSClientConfig } from '@aws-sdk/client-ebs';
import { systemClock, type Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { CallRunner } from './call-runner.js';
import { CredentialRenewal } from './credential-renewal.js';
import { toEbsError } from './error-map.js';
import { instanceRegion } from './instance-region.js';
import { configuredEndpoint, readNetworkSettings, type NetworkSettings } from './network-settings.js';
import { withoutNodeVersionWarning } from './node-version-advice.js';
import { TunnelAgent } from './proxy-tunnel.js';
import { SdkSnapshotApi } from './sdk-operations.js';
import type { SnapshotApi } from './snapshot-api.js';

/** Where to connect, as whom, and the bounds of each call. */
export interface SdkClientOptions {
  /** Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, the instance's own. */
  readonly region?: string | undefined;
  /** Of the shared config files. Default: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
  /** Default: AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, the profile's, the region's own. */
  readonly endpointUrl?: string | undefined;
  /** Default: the SDK's chain: the environment, the shared config files, SSO, a process, the container, the instance. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How many calls will be under way at once: so many idle connections are kept open. At least 1. */
  readonly inFlightMax: number;
  /** Default: 3000. */
  readonly connectTimeoutMs?: number;
  /** From the start of a call to the last byte of its answer. Default: 15,000. */
  readonly requestTimeoutMs?: number;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the real time. */
  readonly clock?: Clock;
}

export const DEFAULT_CONNECT_TIMEOUT_MS = 3000;
// A block is 512 KiB: 64 of them at once come through 18 Mbit/s in this time.
export const DEFAULT_REQUEST_TIMEOUT_MS = 15_000;
// Listing goes on beside the fetching of blocks, under its own bound.
export const SPARE_SOCKETS = 16;
const KEEP_ALIVE_PROBE_MS = 15_000;
// Passed on by the client to whatever looks credentials up, which would else keep what the files once said.
const READ_FILES_AGAIN = { ignoreCache: true };
const SDK_REGION_MISSING = 'Region is missing';

/** A client of the SDK that knows where it is and who it is. */
export interface SdkParts {
  readonly client: EBSClient;
  readonly calls: CallRunner;
  readonly network: NetworkSettings;
}

/**
 * The EBS direct APIs through the AWS SDK: one call, one request, no retries. Region and credentials are looked
 * up before it resolves, so that a missing one is found at the start.
 *
 * @throws {EbsError} `no-region`, `no-credentials` or another reason why no call could be made.
 * @throws {EnvironmentError} for a proxy or certificate authorities that cannot be used.
 */
export async function createSdkSnapshotApi(options: SdkClientOptions): Promise<SnapshotApi> {
  const { client, calls } = await createSdkParts(options);
  return new SdkSnapshotApi(client, calls);
}

/** What {@link createSdkSnapshotApi} is made of. @throws what it throws. */
export async function createSdkParts(options: SdkClientOptions): Promise<SdkParts> {
  const { clock = systemClock, logger = silentLogger, profile } = options;
  const network = await readNetworkSettings(profile, process.env);
  const endpointUrl = options.endpointUrl ?? (await configuredEndpoint(profile));
  const create = (region: string | undefined): EBSClient =>
    createClient({ ...options, region, endpointUrl }, network);
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  let region = options.region ?? AWS_REGION ?? AWS_DEFAULT_REGION;
  let client = create(region);
  try {
    // A profile that does not exist has no region either, but that is not what is wrong with it.
    if (profile !== undefined) await client.config.credentials();
    try {
      region = await client.config.region();
    } catch (error) {
      const own = messageOf(error) === SDK_REGION_MISSING ? await instanceRegion(process.env) : undefined;
      if (own === undefined) throw error;
      region = own;
      client = create(region);
    }
    await client.config.credentials();
  } catch (error) {
    client.destroy();
    throw toEbsError(error, { profile, region });
  }
  const calls = new CallRunner({
    clock,
    credentials: new CredentialRenewal(client.config.credentials, clock, logger),
    requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    region,
    profile,
    endpointUrl,
  });
  return { client, calls, network };
}

function createClient(options: SdkClientOptions, network: NetworkSettings): EBSClient {
  const { region } = options;
  const agent = {
    keepAlive: true,
    keepAliveMsecs: KEEP_ALIVE_PROBE_MS,
    // The number of calls is bounded where they are made. A call that waited here for a socket would be timed
    // as if it could not connect.
    maxSockets: Number.POSITIVE_INFINITY,
    maxFreeSockets: options.inFlightMax + SPARE_SOCKETS,
  };
  const logger = options.logger ?? silentLogger;
  const config: EBSClientConfig = {
    // [ebs: Retry] The one retry policy is in retry.ts.
    maxAttempts: 1,
    logger: sdkLogger(logger),
    ...READ_FILES_AGAIN,
    ...(region === undefined ? {} : { region }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...(options.endpointUrl === undefined ? {} : { endpoint: options.endpointUrl }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    requestHandler: {
      connectionTimeout: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
      httpAgent: agent,
      httpsAgent: new TunnelAgent(agent, network),
    },
  };
  return withoutNodeVersionWarning(logger, () => new EBSClient(config));
}

// The SDK logs whole requests, tokens included, at "info" and failures, which are reported here, at "error".
function sdkLogger(logger: Logger): NonNullable<EBSClientConfig['logger']> {
  const drop = (): void => undefined;
  const warn = (...words: unknown[]): void =>
    logger.warn('AWS SDK', { text: words.map(messageOf).join(' ') });
  return { trace: drop, debug: drop, info: drop, warn, error: drop };
}
