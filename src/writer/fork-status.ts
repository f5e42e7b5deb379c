import { DiskFolder } from './disk-folder.js';
import { ForkState } from './fork-state.js';
import { Journal } from './journal.js';
import { PAGE_BYTES } from './sector-state.js';

/** What a fork is doing, as its journal has it. */
export const ForkPhase = {
  /** Nothing has been written since it was made, or since the last commit. */
  Clean: 'clean',
  /** There is something to commit. */
  Dirty: 'dirty',
  /** A commit goes on, or broke off. */
  Committing: 'committing',
} as const;
export type ForkPhase = (typeof ForkPhase)[keyof typeof ForkPhase];

/** A fork, as `snapnbd forks` shows it. */
export interface ForkStatus {
  readonly name: string;
  /** The snapshot beneath; null: a blank disk. */
  readonly baseSnapshotId: string | null;
  readonly sizeBytes: number;
  /** What the data files take on the disk, about. */
  readonly stagedBytes: number;
  /** Blocks of 512 KiB that have been put into the pending snapshot. */
  readonly putBlockCount: number;
  readonly state: ForkPhase;
  readonly pendingSnapshotId: string | null;
  readonly lastCommitSnapshotId: string | null;
  /** ISO 8601. */
  readonly lastFlushAt: string | null;
}

/** What a state says, for people. */
export function statusOf(state: ForkState): ForkStatus {
  const { origin, active, frozen, lastCommit, lastFlushMs } = state;
  const pending = frozen?.pending ?? active.pending;
  return {
    name: origin.name,
    baseSnapshotId: state.baseSnapshotId ?? null,
    sizeBytes: origin.sizeBytes,
    stagedBytes: state.allocatedPageCount * PAGE_BYTES,
    putBlockCount: active.puts.putCount + (frozen?.puts.putCount ?? 0),
    state: frozen !== undefined ? ForkPhase.Committing : active.isEmpty ? ForkPhase.Clean : ForkPhase.Dirty,
    pendingSnapshotId: pending?.snapshotId ?? null,
    lastCommitSnapshotId: lastCommit?.snapshotId ?? null,
    lastFlushAt: lastFlushMs === undefined ? null : new Date(lastFlushMs).toISOString(),
  };
}

/**
 * Reads the status of the fork in a folder, which may be in use by another process.
 *
 * @throws {JournalError} when its journal is damaged; ENOENT when there is none.
 */
export async function readForkStatus(folder: string): Promise<ForkStatus> {
  const state = new ForkState();
  await Journal.inspect(new DiskFolder(folder), (record) => state.apply(record));
  return statusOf(state);
}
