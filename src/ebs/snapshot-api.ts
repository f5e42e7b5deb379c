/** A block that a snapshot lists. */
export interface ListedBlock {
  readonly blockIndex: number;
  /** Opaque, up to 256 characters; good for this snapshot and this index until the page's expiry. */
  readonly blockToken: string;
}

/** One page of ListSnapshotBlocks. May be short, or empty with a `nextToken`. */
export interface BlockPage {
  /** Ascending by index, also across pages. */
  readonly blocks: readonly ListedBlock[];
  /** When the block tokens stop working, in milliseconds since 1970. */
  readonly expiryMs: number;
  readonly volumeSizeGib: number;
  /** Undefined on the last page. Lives 60 minutes. */
  readonly nextToken: string | undefined;
}

/** A block that differs between two snapshots. */
export interface ChangedBlock {
  readonly blockIndex: number;
  /** Absent: the block is only in the second snapshot. */
  readonly firstBlockToken: string | undefined;
  /** Absent: the block is only in the first snapshot, so it became zeros. */
  readonly secondBlockToken: string | undefined;
}

/** One page of ListChangedBlocks. Empty pages with a `nextToken` are common. */
export interface ChangedBlockPage {
  readonly blocks: readonly ChangedBlock[];
  readonly expiryMs: number;
  readonly volumeSizeGib: number;
  readonly nextToken: string | undefined;
}

/** Where a listing begins: at an index, or where an earlier page ended. */
export interface PagePosition {
  /** From 100 to 10,000. */
  readonly resultsMax: number;
  /** Default: 0. Ignored by the service when there is a `pageToken`. */
  readonly startingBlockIndex?: number;
  readonly pageToken?: string;
}

export interface ListSnapshotBlocksRequest extends PagePosition {
  readonly snapshotId: string;
}

export interface ListChangedBlocksRequest extends PagePosition {
  readonly firstSnapshotId: string;
  readonly secondSnapshotId: string;
}

export interface GetSnapshotBlockRequest {
  readonly snapshotId: string;
  readonly blockIndex: number;
  readonly blockToken: string;
}

/** A block as it arrived: not yet compared with its checksum. */
export interface ReceivedBlock {
  readonly bytes: Buffer;
  /** x-amz-Data-Length, or undefined where the answer has none. */
  readonly declaredLengthBytes: number | undefined;
  /** x-amz-Checksum: base64. */
  readonly checksum: string | undefined;
  /** x-amz-Checksum-Algorithm. */
  readonly checksumAlgorithm: string | undefined;
}

export interface StartSnapshotRequest {
  readonly volumeSizeGib: number;
  readonly parentSnapshotId?: string;
  readonly description?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** Makes the call idempotent: the same token and body give the same snapshot. */
  readonly clientToken: string;
  readonly encrypted?: boolean;
  readonly kmsKeyArn?: string;
  /** From 10 to 4320. Default of the service: 60. */
  readonly timeoutMinutes?: number;
}

export const SnapshotStatus = { Pending: 'pending', Completed: 'completed', Error: 'error' } as const;
export type SnapshotStatus = (typeof SnapshotStatus)[keyof typeof SnapshotStatus];

export interface StartedSnapshot {
  readonly snapshotId: string;
  readonly status: SnapshotStatus;
  readonly volumeSizeGib: number;
  readonly parentSnapshotId: string | undefined;
  readonly kmsKeyArn: string | undefined;
}

export interface PutSnapshotBlockRequest {
  readonly snapshotId: string;
  readonly blockIndex: number;
  /** Exactly 524,288 bytes. */
  readonly bytes: Uint8Array;
  /** base64 of the SHA-256 of `bytes`. */
  readonly checksum: string;
  /** From 0 to 100; informational. */
  readonly progressPercent?: number;
}

export interface CompleteSnapshotRequest {
  readonly snapshotId: string;
  /** Distinct indexes that were put to this snapshot. */
  readonly changedBlocksCount: number;
  /** base64 of the LINEAR checksum; absent: none is sent. */
  readonly checksum?: string;
}

/** What goes with any call. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** The call may take at most this long in milliseconds. Default: the implementation's own time-out. */
  readonly timeoutMs?: number;
  /**
   * When the answer was first wanted, in milliseconds of the clock's `nowMs`: time spent in queues before the call
   * counts against the bound on retrying while the service fails. Default: now. Only retrying looks at it.
   */
  readonly askedMs?: number;
  /** How long retrying may go on in all, in milliseconds. Default: the policy's. Only retrying looks at it. */
  readonly retryTotalMs?: number;
}

/**
 * The EBS direct APIs in plain types: one call, one request. Whoever implements this neither retries nor caches
 * unless it says so.
 *
 * @see https://docs.aws.amazon.com/ebs/latest/APIReference/
 * @throws {EbsError} for everything that can go wrong on the way and at the service; the signal's reason when
 *   it was aborted.
 */
export interface SnapshotApi {
  listSnapshotBlocks(request: ListSnapshotBlocksRequest, options?: CallOptions): Promise<BlockPage>;
  listChangedBlocks(request: ListChangedBlocksRequest, options?: CallOptions): Promise<ChangedBlockPage>;
  getSnapshotBlock(request: GetSnapshotBlockRequest, options?: CallOptions): Promise<ReceivedBlock>;
  startSnapshot(request: StartSnapshotRequest, options?: CallOptions): Promise<StartedSnapshot>;
  putSnapshotBlock(request: PutSnapshotBlockRequest, options?: CallOptions): Promise<void>;
  completeSnapshot(request: CompleteSnapshotRequest, options?: CallOptions): Promise<SnapshotStatus>;
  /** Closes idle connections. Calls under way are not waited for. */
  close(): void;
}
