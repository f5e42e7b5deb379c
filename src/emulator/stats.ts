import { MIB } from '../util/units.js';
import { BlockSet, BlockSetBudget } from './block-set.js';
import { Operation } from './routes.js';

/** Snapshots that are counted one by one; those beyond are only in the totals. */
const SNAPSHOTS_MAX = 4096;

/** Room for the distinct blocks of four full snapshots of 64 TiB, or of thousands of usual ones. */
const BLOCK_SETS_MAX_BYTES = 64 * MIB;

/** Requests and bytes that ended in one way. */
export interface Tally {
  readonly requests: number;
  /** Bytes of request bodies. */
  readonly bytesIn: number;
  /** Bytes of answer bodies. */
  readonly bytesOut: number;
}

/** What one operation did. */
export interface OperationStats extends Tally {
  /** By HTTP status; "dropped" for connections that were cut on purpose, "aborted" for clients that left. */
  readonly byStatus: Readonly<Record<string, Tally>>;
  /** By error type, such as "ThrottlingException". */
  readonly byError: Readonly<Record<string, number>>;
  /** Blocks that were sent with a wrong byte on purpose. */
  readonly corrupted: number;
  readonly inFlight: number;
  readonly inFlightMax: number;
}

/** What one snapshot was asked for; only requests that succeeded count. */
export interface SnapshotStats {
  readonly listCalls: number;
  readonly gets: number;
  /** Null when too many were got to keep count: then it is somewhere between 1 and `gets`. */
  readonly distinctBlocksGot: number | null;
  readonly puts: number;
  readonly distinctBlocksPut: number | null;
}

/** Everything since the start, or since the last reset. */
export interface EmulatorStats extends Tally {
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly operations: Readonly<Record<Operation, OperationStats>>;
  readonly snapshots: Readonly<Record<string, SnapshotStats>>;
  /** Requests to EC2 by their operation; in no total. */
  readonly ec2: Readonly<Record<string, number>>;
}

/** How a request ended. */
export interface RequestOutcome {
  readonly status: number | 'dropped' | 'aborted';
  readonly errorType: string | undefined;
  readonly corrupted: boolean;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

class Counter implements Tally {
  requests = 0;
  bytesIn = 0;
  bytesOut = 0;

  add(bytesIn: number, bytesOut: number): void {
    this.requests += 1;
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
  }

  tally(): Tally {
    return { requests: this.requests, bytesIn: this.bytesIn, bytesOut: this.bytesOut };
  }
}

class OperationCounter {
  readonly total = new Counter();
  readonly byStatus = new Map<string, Counter>();
  readonly byError = new Map<string, number>();
  corrupted = 0;
  inFlight = 0;
  inFlightMax = 0;
}

class SnapshotCounter {
  listCalls = 0;
  gets = 0;
  puts = 0;
  readonly got: BlockSet;
  readonly put: BlockSet;

  constructor(budget: BlockSetBudget) {
    this.got = new BlockSet(budget);
    this.put = new BlockSet(budget);
  }
}

/** Counts what is asked and answered. */
export class Stats {
  readonly #operations = new Map<Operation, OperationCounter>();
  readonly #snapshots = new Map<string, SnapshotCounter>();
  #budget = new BlockSetBudget(BLOCK_SETS_MAX_BYTES);
  #startedMs: number;

  /** @param dateMs now, in milliseconds since 1970. */
  constructor(dateMs: number) {
    this.#startedMs = dateMs;
  }

  /** Begins at zero again; what is under way stays under way. */
  reset(dateMs: number): void {
    this.#startedMs = dateMs;
    this.#snapshots.clear();
    this.#budget = new BlockSetBudget(BLOCK_SETS_MAX_BYTES);
    for (const [operation, { inFlight }] of this.#operations) {
      const counter = new OperationCounter();
      counter.inFlight = inFlight;
      counter.inFlightMax = inFlight;
      this.#operations.set(operation, counter);
    }
  }

  begin(operation: Operation): void {
    const counter = this.#counterOf(operation);
    counter.inFlight += 1;
    counter.inFlightMax = Math.max(counter.inFlightMax, counter.inFlight);
  }

  end(operation: Operation, outcome: RequestOutcome): void {
    const counter = this.#counterOf(operation);
    const { status, errorType, bytesIn, bytesOut } = outcome;
    counter.inFlight -= 1;
    counter.total.add(bytesIn, bytesOut);
    const byStatus = counter.byStatus.get(String(status)) ?? new Counter();
    byStatus.add(bytesIn, bytesOut);
    counter.byStatus.set(String(status), byStatus);
    if (errorType !== undefined) counter.byError.set(errorType, (counter.byError.get(errorType) ?? 0) + 1);
    if (outcome.corrupted) counter.corrupted += 1;
  }

  /** Counts an operation on a snapshot that was done, whether or not the answer arrived. */
  done(operation: Operation, snapshotId: string, blockIndex: number | undefined): void {
    const counter = this.#snapshotOf(snapshotId);
    if (counter === undefined) return;
    if (operation === Operation.ListSnapshotBlocks || operation === Operation.ListChangedBlocks)
      counter.listCalls += 1;
    if (blockIndex === undefined) return;
    if (operation === Operation.GetSnapshotBlock) {
      counter.gets += 1;
      counter.got.add(blockIndex);
    } else if (operation === Operation.PutSnapshotBlock) {
      counter.puts += 1;
      counter.put.add(blockIndex);
    }
  }

  /** What the EBS direct APIs were asked. */
  snapshot(dateMs: number): Omit<EmulatorStats, 'ec2'> {
    const total = new Counter();
    for (const { total: one } of this.#operations.values()) {
      total.requests += one.requests;
      total.bytesIn += one.bytesIn;
      total.bytesOut += one.bytesOut;
    }
    return {
      startedAt: new Date(this.#startedMs).toISOString(),
      uptimeSeconds: (dateMs - this.#startedMs) / 1000,
      ...total.tally(),
      operations: Object.fromEntries(
        Object.values(Operation).map((operation) => [operation, describe(this.#counterOf(operation))]),
      ) as Record<Operation, OperationStats>,
      snapshots: Object.fromEntries(
        [...this.#snapshots].map(([snapshotId, counter]) => [snapshotId, describeSnapshot(counter)]),
      ),
    };
  }

  #counterOf(operation: Operation): OperationCounter {
    let counter = this.#operations.get(operation);
    if (counter === undefined) {
      counter = new OperationCounter();
      this.#operations.set(operation, counter);
    }
    return counter;
  }

  #snapshotOf(snapshotId: string): SnapshotCounter | undefined {
    let counter = this.#snapshots.get(snapshotId);
    if (counter === undefined && this.#snapshots.size < SNAPSHOTS_MAX) {
      counter = new SnapshotCounter(this.#budget);
      this.#snapshots.set(snapshotId, counter);
    }
    return counter;
  }
}

function describe(counter: OperationCounter): OperationStats {
  return {
    ...counter.total.tally(),
    byStatus: Object.fromEntries([...counter.byStatus].map(([status, tally]) => [status, tally.tally()])),
    byError: Object.fromEntries(counter.byError),
    corrupted: counter.corrupted,
    inFlight: counter.inFlight,
    inFlightMax: counter.inFlightMax,
  };
}

function describeSnapshot(counter: SnapshotCounter): SnapshotStats {
  return {
    listCalls: counter.listCalls,
    gets: counter.gets,
    distinctBlocksGot: counter.got.size,
    puts: counter.puts,
    distinctBlocksPut: counter.put.size,
  };
}
