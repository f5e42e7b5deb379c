/** The version of {@link StatusDocument}: raised when something in it changes its meaning or goes away. */
export const STATUS_VERSION = 1;

/** How an export is, worst last. */
export const FindingLevel = { Idle: 'idle', Ok: 'ok', Waiting: 'waiting', Stuck: 'stuck' } as const;
export type FindingLevel = (typeof FindingLevel)[keyof typeof FindingLevel];

/** Whether something is stuck, and on what, in one sentence for people. */
export interface Finding {
  readonly level: FindingLevel;
  readonly text: string;
}

/** How long things took. */
export interface LatencyFigures {
  /** Of all of them. */
  readonly seconds: number;
  /** How many fell into each bucket; the bounds are those of {@link StatusDocument.latencyBoundsSeconds}, and one more. */
  readonly buckets: readonly number[];
}

/** The requests of one command since the start. */
export interface CommandFigures extends LatencyFigures {
  readonly requests: number;
  readonly failures: number;
  readonly bytes: number;
}

/** A request that waits for the disk. */
export interface WaitingFigures {
  readonly command: string;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly ageSeconds: number;
}

/** What became of blocks of 512 KiB of a snapshot since the start. */
export interface BlockFigures {
  readonly memoryHits: number;
  readonly diskHits: number;
  readonly relativeHits: number;
  readonly holeHits: number;
  /** Blocks that readers had to wait for. */
  readonly misses: number;
  /** Blocks that the service gave. */
  readonly fetched: number;
  /** Blocks on their way, or waiting for it. */
  readonly fetching: number;
  readonly refusedTokens: number;
  readonly lists: number;
  readonly tokenBytes: number;
}

/** A disk that can be written. */
export interface ForkFigures {
  readonly state: string;
  readonly baseSnapshotId: string | null;
  readonly stagedBytes: number;
  readonly putBlocks: number;
  readonly pendingSnapshotId: string | null;
  readonly lastCommitSnapshotId: string | null;
  readonly lastFlushAt: string | null;
  readonly commit: { readonly step: string; readonly putBlocks: number; readonly dueBlocks: number } | null;
  /** Why nothing is taken any more, or null. */
  readonly failure: string | null;
}

/** A picture of the disk in at most 2048 cells. */
export interface MapFigures {
  readonly blocksPerCell: number;
  readonly cellCount: number;
  /**
   * Runs of equal cells: a count (left out when it is 1), a letter for the state, and a digit from 0 to 9 for how much of
   * the cell is in it. Letters: `u` unknown, `h` hole, `n` never read, `r` read earlier, `d` on disk, `m` in memory,
   * `f` being fetched, `s` staged, `p` put.
   */
  readonly cells: string;
}

/** One export. */
export interface ExportFigures {
  readonly name: string;
  readonly kind: 'snapshot' | 'fork' | 'device';
  readonly description: string;
  readonly sizeBytes: number;
  readonly isWritable: boolean;
  readonly clients: number;
  readonly finding: Finding;
  /** By name, such as READ; those that were never asked for are left out. */
  readonly commands: Readonly<Record<string, CommandFigures>>;
  readonly waitingCount: number;
  readonly oldestWaiting: WaitingFigures | null;
  readonly lastFailure: {
    readonly command: string;
    readonly reason: string;
    readonly ageSeconds: number;
  } | null;
  readonly blocks: BlockFigures | null;
  readonly fork: ForkFigures | null;
  /** Where it was asked for. */
  readonly map?: MapFigures;
}

/** The way to the EBS direct APIs. */
export interface ApiFigures {
  /** Calls that were answered, by operation. */
  readonly calls: Readonly<Record<string, number>>;
  readonly latency: Readonly<Record<string, LatencyFigures>>;
  /** Tries that failed, by kind. */
  readonly failures: Readonly<Record<string, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly usd: number;
  readonly usdMax: number | null;
  readonly isCostBoundReached: boolean;
  readonly underWay: number;
  readonly oldestSeconds: number;
  readonly inFlightMax: number;
  readonly waitingForPlace: number;
  readonly retries: number;
  /** Calls that wait for another try now. */
  readonly throttled: number;
  readonly failing: number;
}

/** What is kept of blocks. */
export interface CacheFigures {
  readonly memoryBytes: number;
  readonly memoryBytesMax: number;
  readonly memoryBlocks: number;
  readonly disk: {
    readonly blocksMax: number;
    readonly hits: number;
    readonly stored: number;
    readonly shared: number;
    readonly skipped: number;
    readonly pauseReason: string | null;
  } | null;
}

/** All that is known of a server at one moment. Documented for others in docs/METRICS.md. */
export interface StatusDocument {
  readonly version: typeof STATUS_VERSION;
  readonly server: {
    readonly state: 'starting' | 'ready' | 'draining';
    readonly version: string;
    readonly startedAt: string;
    readonly uptimeSeconds: number;
    readonly cpuSeconds: number;
    readonly residentBytes: number;
    readonly clients: number;
    /** Whether files can be walked through and downloaded. */
    readonly hasFiles: boolean;
  };
  readonly latencyBoundsSeconds: readonly number[];
  readonly api: ApiFigures | null;
  readonly cache: CacheFigures;
  readonly exports: readonly ExportFigures[];
}

/** Where the figures come from. */
export interface ServerFigures {
  readonly state: StatusDocument['server']['state'];
  /** @param maps names of the exports whose maps are wanted. Default: none. */
  status(maps?: ReadonlySet<string>): StatusDocument;
}
