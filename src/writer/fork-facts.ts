/** The first version of the journal. A later one is refused. */
export const JOURNAL_VERSION = 1;

/** What a fork was made of, fixed for its life. */
export interface ForkOrigin {
  readonly version: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** The snapshot that it was forked from; null: it began blank. */
  readonly originSnapshotId: string | null;
  readonly createdMs: number;
  /** Encrypt what comes of a blank disk. A fork of a snapshot inherits. */
  readonly encrypted: boolean;
  /** Null: the account's default key. */
  readonly kmsKeyArn: string | null;
}

/** What a commit was asked to make. */
export interface CommitWishes {
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** The snapshot that a layer is put into. */
export interface PendingSnapshot extends CommitWishes {
  /** Makes StartSnapshot idempotent; written down before the call. */
  readonly clientToken: string;
  readonly parentSnapshotId: string | null;
  /** Null until StartSnapshot was answered. */
  readonly snapshotId: string | null;
  /** When it was answered, milliseconds since 1970. */
  readonly startedMs: number;
  /** Whether blocks of zeros have to be put, since the space that was never put is random in an encrypted snapshot. */
  readonly encrypted: boolean;
  /** Set before CompleteSnapshot: from then on nothing is put. */
  readonly completing: { readonly blockCount: number; readonly checksum: string } | null;
}

/** The last commit that ended well. */
export interface LastCommit {
  readonly snapshotId: string;
  readonly dateMs: number;
}
