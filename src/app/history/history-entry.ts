import type { SnapshotDescription } from '../../ec2/ec2-api.js';
import type { FoundFile } from './file-looking.js';

/** What became of a file in a snapshot. */
export interface FileEntry {
  readonly found: FoundFile;
  /** The same in all snapshots that have the same version, the newest one 1. Undefined where there is no file. */
  readonly version: number | undefined;
  /** Whether it had to be read; else nothing that decides it has changed to the next newer one. */
  readonly wasRead: boolean;
}

/** A snapshot in the history of its volume. */
export interface HistoryEntry {
  readonly snapshot: SnapshotDescription;
  /** The next older one that can be read. Undefined for the oldest, and for those that cannot be read. */
  readonly since: string | undefined;
  /** In which it may differ from that one, in whole blocks. Undefined where nothing was or could be compared. */
  readonly changedBytes: number | undefined;
  /** Why it could not be compared: one line. */
  readonly problem: string | undefined;
  /** Undefined where none was looked for, and for snapshots that cannot be read. */
  readonly file: FileEntry | undefined;
}
