import { systemClock, type Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { CallRunner } from './call-runner.js';
import { CredentialRenewal, type IdentityProvider } from './credential-renewal.js';
import { toEbsError } from './error-map.js';
import { instanceRegion } from './instance-region.js';
import { configuredEndpoint, readNetworkSettings, type NetworkSettings } from './network-settings.js';
import { withoutNodeVersionWarning } from './node-version-advice.js';
import { TunnelAgent, type AgentOptions } from './proxy-tunnel.js';

/** Where to connect, as whom, and the bounds of each call. */
export interface AwsClientOptions {
  /** Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, the instance's own. */
  readonly region?: string | undefined;
  /** Of the shared config files. Default: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
  /** Default: AWS_ENDPOINT_URL_EBS (or the like for another service), AWS_ENDPOINT_URL, the profile's, the region's own. */
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

type SdkLog = (...words: unknown[]) => void;

/** What every client of the SDK is constructed with here. */
export interface AwsClientConfig {
  readonly maxAttempts: number;
  readonly logger: Record<'trace' | 'debug' | 'info' | 'warn' | 'error', SdkLog>;
  readonly region?: string;
  readonly profile?: string;
  readonly endpoint?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly requestHandler: {
    readonly connectionTimeout: number;
    readonly httpAgent: AgentOptions;
    readonly httpsAgent: TunnelAgent;
  };
}

/** The part of a client of the SDK that is needed to open it. */
export interface AwsClient {
  readonly config: { region(): Promise<string>; readonly credentials: IdentityProvider };
  destroy(): void;
}

/** A client of the SDK that knows where it is and who it is. */
export interface OpenedAwsClient<Client> {
  readonly client: Client;
  readonly calls: CallRunner;
  readonly network: NetworkSettings;
}

/**
 * Opens a client of the SDK for single tries. Region and credentials are looked up before it resolves, so that a missing
 * one is found at the start.
 *
 * @param service as the variables of the environment name it: `EBS` for AWS_ENDPOINT_URL_EBS.
 * @throws {EbsError} `no-region`, `no-credentials` or another reason why no call could be made.
 * @throws {EnvironmentError} for a proxy or certificate authorities that cannot be used.
 */
export async function openAwsClient<Client extends AwsClient>(
  service: string,
  options: AwsClientOptions,
  construct: (config: AwsClientConfig) => Client,
): Promise<OpenedAwsClient<Client>> {
  const { clock = systemClock, logger = silentLogger, profile } = options;
  const network = await readNetworkSettings(profile, process.env);
  const endpointUrl = options.endpointUrl ?? (await configuredEndpoint(profile, service));
  const create = (region: string | undefined): Client =>
    withoutNodeVersionWarning(logger, () =>
      construct(configOf({ ...options, region, endpointUrl }, network)),
    );
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

function configOf(options: AwsClientOptions, network: NetworkSettings): AwsClientConfig {
  const { region } = options;
  const agent = {
    keepAlive: true,
    keepAliveMsecs: KEEP_ALIVE_PROBE_MS,
    // The number of calls is bounded where they are made. A call that waited here for a socket would be timed
    // as if it could not connect.
    maxSockets: Number.POSITIVE_INFINITY,
    maxFreeSockets: options.inFlightMax + SPARE_SOCKETS,
  };
  return {
    // [ebs: Retry] The one retry policy is in retry.ts.
    maxAttempts: 1,
    logger: sdkLogger(options.logger ?? silentLogger),
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
}

// The SDK logs whole requests, tokens included, at "info" and failures, which are reported here, at "error".
function sdkLogger(logger: Logger): AwsClientConfig['logger'] {
  const drop = (): void => undefined;
  const warn = (...words: unknown[]): void =>
    logger.warn('AWS SDK', { text: words.map(messageOf).join(' ') });
  return { trace: drop, debug: drop, info: drop, warn, error: drop };
}
