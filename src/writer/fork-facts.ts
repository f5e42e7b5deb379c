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

/** With which key a snapshot is encrypted; null: the account's default one. */
export interface SnapshotEncryption {
  readonly kmsKeyArn: string | null;
}

/** What a commit was asked to make. */
export interface CommitWishes {
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Null: as the account does by default. Means nothing where there is a parent, whose encryption is inherited. */
  readonly encryption: SnapshotEncryption | null;
  /** After so long without a put AWS cancels the pending snapshot, from 10 to 4320. */
  readonly timeoutMinutes: number;
}

/** Those of {@link CommitWishes} that were expressed. */
export type ExpressedWishes = { readonly [Name in keyof CommitWishes]?: CommitWishes[Name] | undefined };

/**
 * Two days: each put sets it back, and a pending snapshot that nobody completes should not count against the account's
 * hundred for ever. [ebs: Writing / Timeout, from 10 to 4320 minutes]
 */
export const TIMEOUT_MINUTES = 2880;

/** All wishes, of which the first that was expressed counts. */
export function joinWishes(origin: ForkOrigin, ...wishes: readonly ExpressedWishes[]): CommitWishes {
  const first = <Name extends keyof CommitWishes>(name: Name): CommitWishes[Name] | undefined =>
    wishes.find((each) => each[name] !== undefined)?.[name];
  return {
    description: first('description') ?? '',
    tags: first('tags') ?? {},
    // Whoever asks for encryption gets it.
    encryption:
      wishes.find(({ encryption }) => encryption !== undefined && encryption !== null)?.encryption ??
      (origin.encrypted ? { kmsKeyArn: origin.kmsKeyArn } : null),
    timeoutMinutes: first('timeoutMinutes') ?? TIMEOUT_MINUTES,
  };
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
