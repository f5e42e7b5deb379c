/** A snapshot as EC2 describes it. What it left out is undefined. */
export interface SnapshotDescription {
  readonly snapshotId: string;
  /** {@link NO_VOLUME_ID} where it was made of no volume: copied, or put by the EBS direct APIs. */
  readonly volumeId: string | undefined;
  /** `pending`, `completed`, `error`, `recoverable` or `recovering`. */
  readonly state: string;
  readonly volumeSizeGib: number;
  /** Milliseconds since 1970. */
  readonly startTimeMs: number;
  /** Empty where there is none. */
  readonly description: string;
  /** Account. */
  readonly ownerId: string;
  /** `amazon`, `aws-marketplace` or the like; undefined for accounts of no such name. */
  readonly ownerAlias: string | undefined;
  /** 0 to 100. */
  readonly progressPercent: number;
  readonly isEncrypted: boolean;
  readonly kmsKeyId: string | undefined;
  /** `archive`: it cannot be read until it is restored. */
  readonly storageTier: 'standard' | 'archive';
  readonly tags: Readonly<Record<string, string>>;
}

/** The id that EC2 gives as the volume of snapshots that were made of none. Many have it, and they are not related. */
export const NO_VOLUME_ID = 'vol-ffffffff';

/** A filter: any of the values, in which `*` and `?` are wildcards. */
export interface Ec2Filter {
  /** Such as `volume-id`, `status`, `tag:Name`. */
  readonly name: string;
  readonly values: readonly string[];
}

/** Which snapshots. Everything that is given has to fit. */
export interface DescribeSnapshotsRequest {
  /** Default: any. An id that does not exist is an error. */
  readonly snapshotIds?: readonly string[];
  /** Accounts, `self` or `amazon`. Default: everything that is visible, public snapshots of strangers included. */
  readonly owners?: readonly string[];
  readonly filters?: readonly Ec2Filter[];
  /** Snapshots of one page, 5 to 1000; not with ids. Default: the service's own. */
  readonly resultsMax?: number;
  /** Of the page before. */
  readonly nextToken?: string;
}

/** One page, in no order that means anything. */
export interface SnapshotsPage {
  readonly snapshots: readonly SnapshotDescription[];
  /** Undefined on the last page. A page may be empty and have one. */
  readonly nextToken: string | undefined;
}

/** Whether new volumes and snapshots of a region are encrypted although nobody asks for it. */
export interface EncryptionByDefault {
  readonly isEnabled: boolean;
}

/** A region of AWS. */
export interface RegionDescription {
  readonly name: string;
  /** Host. */
  readonly endpoint: string;
}

/** What can be said about a call. */
export interface Ec2CallOptions {
  /** Gives the call up, its retries included. */
  readonly signal?: AbortSignal;
}

/**
 * The operations of EC2 that snapnbd needs, in one region, in plain types. Each is tried again as the EBS direct APIs are.
 *
 * Every one throws an `EbsError`, whose message says what was attempted and what to do.
 */
export interface Ec2Api {
  readonly region: string;
  /** [ec2: DescribeSnapshots] */
  describeSnapshots(request: DescribeSnapshotsRequest, options?: Ec2CallOptions): Promise<SnapshotsPage>;
  /** [ec2: GetEbsEncryptionByDefault] */
  getEncryptionByDefault(options?: Ec2CallOptions): Promise<EncryptionByDefault>;
  /** [ec2: EnableEbsEncryptionByDefault, DisableEbsEncryptionByDefault] Gives what holds afterwards. */
  setEncryptionByDefault(isEnabled: boolean, options?: Ec2CallOptions): Promise<EncryptionByDefault>;
  /** [ec2: GetEbsDefaultKmsKeyId] The key that is used where none is named: an ARN, an id or an alias. */
  getDefaultKmsKeyId(options?: Ec2CallOptions): Promise<string>;
  /** [ec2: DescribeRegions] Those that the account can use. */
  describeRegions(options?: Ec2CallOptions): Promise<readonly RegionDescription[]>;
  close(): void;
}
