import type { ListenAddress } from '../nbd/listen/listen-address.js';
import { MIB } from '../util/units.js';
import type { ExportSpec } from './export-spec.js';

/** Which EBS is spoken to, and how patiently. */
export interface ApiSettings {
  /** Default: the standard AWS configuration (environment, shared config files, instance metadata). */
  readonly region?: string;
  /** Default: the standard AWS configuration. */
  readonly profile?: string;
  /** Default: AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, the shared config files, else the region's endpoint. */
  readonly endpointUrl?: string;
  /** Serve from the embedded emulator on this folder instead of AWS. Default: no emulator. */
  readonly emulatorDir?: string;
  /** How long one call may be retried before the request that needs it fails. Default: 20,000. */
  readonly retryTotalMs?: number;
  /** Calls under way at once. Default: 64. */
  readonly inFlightMax?: number;
}

/** All that `snapnbd serve` can be told. */
export interface ServeSettings {
  /** At least one; the first is also the default export. */
  readonly exports: readonly ExportSpec[];
  /** Default, also when empty: 127.0.0.1:10809. */
  readonly listen?: readonly ListenAddress[];
  readonly api?: ApiSettings;
  /** Bound on the memory that cached blocks take, in bytes. Default: 256 MiB. */
  readonly cacheMemoryBytes?: number;
}

/** The port that IANA gave NBD, on loopback: a snapshot is somebody's disk. */
export const DEFAULT_LISTEN_ADDRESS = '127.0.0.1:10809';

export const DEFAULT_CACHE_MEMORY_BYTES = 256 * MIB;

/** About 100 calls in flight saturate one snapshot's quota; more than 64 gain little and cost 512 KiB each. */
export const DEFAULT_API_IN_FLIGHT_MAX = 64;
