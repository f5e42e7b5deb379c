import type { ListenAddress } from '../nbd/listen/listen-address.js';
import type { ApiPrices } from '../ebs/cost.js';
import type { TlsFiles } from '../nbd/tls/tls-credentials.js';
import { GIB, MIB } from '../util/units.js';
import type { ProfileMode } from '../snapshot/profile/profiles.js';
import type { Durability } from '../writer/fork.js';
import type { ExpressedWishes } from '../writer/fork-facts.js';
import type { ExportSpec } from './export-spec.js';
import type { HttpSettings } from './observing/http-settings.js';
import type { AllowRules } from './on-demand/allow-rules.js';

/** Which EBS is spoken to, and how patiently. */
export interface ApiSettings {
  /** Default: the standard AWS configuration (environment, shared config files, instance metadata). */
  readonly region?: string;
  /** Default: the standard AWS configuration. */
  readonly profile?: string;
  /** Default: AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, the shared config files, else the region's endpoint. */
  readonly endpointUrl?: string;
  /** Of EC2. Default: see `openEc2`. */
  readonly ec2EndpointUrl?: string;
  /** Serve from the embedded emulator on this folder instead of AWS. Default: no emulator. */
  readonly emulatorDir?: string;
  /** How long one call may be retried before the request that needs it fails. Default: 20,000. */
  readonly retryTotalMs?: number;
  /** Block calls of one kind under way at once, at most; how many there are finds its level below. Default: 64. */
  readonly inFlightMax?: number;
  /** GetSnapshotBlock calls a second, at most. Default: what the account allows. */
  readonly getsPerSecond?: number;
  /** US dollars that billed calls of this process may cost; further ones are refused. Default: no bound. */
  readonly costMaxUsd?: number;
  /** US dollars for 1000 calls. Default: the published prices. */
  readonly prices?: Partial<ApiPrices>;
}

/** TLS, and with which keys. */
export interface TlsSettings {
  /** `on`: clients may use TLS; `require`: they must. */
  readonly mode: 'on' | 'require';
  readonly files: TlsFiles;
  /** Names of client certificates, one of which a client must have. Default: any that the CA signed. */
  readonly allowedNames?: readonly string[];
}

/** Where clients connect, and who may. */
export interface ListenSettings {
  /** Default, also when empty: the sockets that the service manager passed on, else 127.0.0.1:10809. */
  readonly addresses?: readonly ListenAddress[];
  /** Permissions of unix sockets. Default: 0600. */
  readonly unixMode?: number;
  /** Clients at the same time. Default: 128. */
  readonly connectionsMax?: number;
  /** Allow addresses that others in the network reach although TLS is not required. Default: false. */
  readonly isInsecureAllowed?: boolean;
  /** Default: none. */
  readonly tls?: TlsSettings;
}

export type { Durability } from '../writer/fork.js';
export type { ExpressedWishes } from '../writer/fork-facts.js';

/** How disks that can be written are staged and committed. */
export interface ForkSettings {
  /** Default: `$XDG_STATE_HOME/snapnbd`, else `~/.local/state/snapnbd`. */
  readonly stateDir?: string;
  /** When a flush is answered. Default: local. */
  readonly durability?: Durability;
  /** Puts a second, at most. Default: what the account allows. */
  readonly putsPerSecond?: number;
  /** Bound on the staged data of each fork, in bytes. Default: the disk that it is on. */
  readonly stageLimitBytes?: number;
  /** Commit a disk when its last client disconnects, unless that one vanished. Default: false. */
  readonly commitsOnDisconnect?: boolean;
  /** Commit again and again, so many milliseconds apart. Default: only when asked to. */
  readonly commitEveryMs?: number;
  /** Of each snapshot, unless a commit asks for something else. Default: no description, no tags, not encrypted. */
  readonly wishes?: ExpressedWishes;
}

/** Blocks on disk that outlive the process. */
export interface DiskCacheSettings {
  /** A folder of this user's own; made when there is none. */
  readonly dir: string;
  /** Bound on the blocks, in bytes, at least 32 MiB. Default: 20 GiB. */
  readonly bytesMax?: number;
  /** Bring the whole snapshots into it in the background. Default: false. */
  readonly hydrates?: boolean;
}

/** What is kept of blocks, and what is fetched before it is asked for. */
export interface ReadingSettings {
  /** Bound on the memory that cached blocks take, in bytes. Default: 256 MiB. */
  readonly cacheMemoryBytes?: number;
  /** Default: none. */
  readonly disk?: DiskCacheSettings;
  /** Fetch ahead of sequential readers. Default: true. */
  readonly readsAhead?: boolean;
  /** Fetch what did not change between snapshots of one lineage once for all of them. Default: true. */
  readonly sharesLineage?: boolean;
  /** What is done with profiles of first reads. Default: use where there is a disk cache, off elsewhere. */
  readonly profile?: ProfileMode | 'off';
}

/** Snapshots that are opened when a client asks for them by their ids. */
export interface OnDemandSettings {
  /** Which: any of the rules. Default, also when empty: every snapshot that can be read. */
  readonly allow?: AllowRules;
  /** Open at once, at most. Default: 64. */
  readonly openMax?: number;
  /** How long one stays open that nobody uses. Default: 300,000. */
  readonly idleMs?: number;
}

export type { HttpSettings } from './observing/http-settings.js';

/** All that `snapnbd serve` can be told. */
export interface ServeSettings extends ReadingSettings {
  /** Default: none. */
  readonly onDemand?: OnDemandSettings;
  /** At least one, unless there are some on demand; the first is also the default export. */
  readonly exports: readonly ExportSpec[];
  /** Offer one bitmap of what has changed, where several are asked for: the first. Default: false, all of them. */
  readonly hasOneBitmap?: boolean;
  readonly listen?: ListenSettings;
  /** The page, the metrics and the files. Default: none. */
  readonly http?: HttpSettings;
  readonly api?: ApiSettings;
  readonly forks?: ForkSettings;
}

/** The port that IANA gave NBD, on loopback: a snapshot is somebody's disk. */
export const DEFAULT_LISTEN_ADDRESS = '127.0.0.1:10809';

export const DEFAULT_CACHE_MEMORY_BYTES = 256 * MIB;

/** A large part of most system disks, and a small one of a server's. */
export const DEFAULT_DISK_CACHE_BYTES = 20 * GIB;

/** About 100 calls in flight saturate one snapshot's quota; more than 64 gain little and cost 512 KiB each. */
export const DEFAULT_API_IN_FLIGHT_MAX = 64;
