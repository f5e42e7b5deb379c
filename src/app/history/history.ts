import type { SnapshotDescription } from '../../ec2/ec2-api.js';
import { systemClock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { connectApi, type ApiConnection } from '../api-connection.js';
import type { ApiSettings } from '../settings.js';
import { compareInOrder } from './comparisons.js';
import { lookForFile, versionKeyOf, type FileLook, type FoundFile } from './file-looking.js';
import type { HistoryEntry } from './history-entry.js';
import { snapshotsOf, type HistorySubject, type VolumeSnapshots } from './history-snapshots.js';

export { createLogWriter } from '../log-writer.js';
export { watchStopSignals } from '../stop-signals.js';
export { parseHistorySubject } from './history-snapshots.js';
export { historyJson, historyTable } from './history-text.js';
export type { HistoryEntry } from './history-entry.js';

/** What `snapnbd history` looks at. */
export interface HistoryTask {
  readonly subject: HistorySubject;
  /** Of a file, in each snapshot. Default: none is looked for. */
  readonly path?: string | undefined;
  /** Number, label or UUID. Default: the only one with a filesystem. */
  readonly partition?: string | undefined;
  /** Snapshots, the newest ones. */
  readonly countMax: number;
  readonly api: ApiSettings;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Gets the part of the volume that was compared, from 0 to 1, of the snapshot that is at hand. */
  readonly onProgress?: (snapshotId: string, comparedFraction: number) => void;
}

/**
 * Tells the history of a volume, the newest snapshot first, each as soon as it is known. A file is looked up again in an
 * older snapshot only where one of the blocks that decided the answer in the newer one has changed.
 *
 * What cannot be compared or read is told in its place.
 *
 * @throws {EnvironmentError} and {EbsError} when the snapshots cannot be found; the signal's reason.
 */
export async function* tellHistory(task: HistoryTask): AsyncGenerator<HistoryEntry> {
  const connection = await connectApi(task.api, { logger: task.logger, clock: systemClock });
  try {
    yield* entriesOf(task, connection, await find(task, connection));
  } finally {
    await connection.close();
  }
}

async function find(
  { subject, countMax, signal }: HistoryTask,
  connection: ApiConnection,
): Promise<VolumeSnapshots> {
  const ec2 = await connection.openEc2();
  try {
    return await snapshotsOf(ec2, subject, countMax, signal);
  } finally {
    ec2.close();
  }
}

async function* entriesOf(
  task: HistoryTask,
  connection: ApiConnection,
  { shown, beyond }: VolumeSnapshots,
): AsyncGenerator<HistoryEntry> {
  const { path, partition, logger, signal } = task;
  const readable = [...shown, ...beyond].filter(isReadable);
  const olderOf = new Map(readable.map((snapshot, index) => [snapshot, readable[index + 1]]));
  const pairs = shown.flatMap((snapshot) => {
    const older = olderOf.get(snapshot);
    return older === undefined ? [] : [{ older, snapshot }];
  });
  const comparisons = compareInOrder(task, connection.api, pairs);
  const versions = new Map<string, number>();
  /** Of the next newer snapshot, while it holds for the one at hand as well. */
  let known: FileLook | undefined;
  try {
    for (const snapshot of shown) {
      const { snapshotId } = snapshot;
      if (!isReadable(snapshot)) {
        yield { snapshot, since: undefined, changedBytes: undefined, problem: undefined, file: undefined };
        continue;
      }
      const wasRead = known === undefined;
      let look: FileLook | undefined;
      if (path !== undefined) {
        look = known ?? (await lookForFile({ snapshotId, path, partition, connection, logger, signal }));
      }
      const older = olderOf.get(snapshot);
      const compared = older && ((await comparisons.next()).value ?? undefined);
      // A partition table may lie at the end of the disk.
      const isSameSize = older?.volumeSizeGib === snapshot.volumeSizeGib;
      known = isSameSize && look?.blocks && compared?.isSameIn(look.blocks) === true ? look : undefined;
      yield {
        snapshot,
        since: older?.snapshotId,
        changedBytes: compared?.changedBytes,
        problem: compared?.problem,
        file: look && { found: look.file, version: versionOf(look.file, versions), wasRead },
      };
    }
  } finally {
    await comparisons.return(undefined);
  }
}

/** [ebs: ListChangedBlocks] Of a snapshot that is not complete, or archived, nothing can be read. */
function isReadable({ state, storageTier }: SnapshotDescription): boolean {
  return state === 'completed' && storageTier === 'standard';
}

function versionOf(found: FoundFile, versions: Map<string, number>): number | undefined {
  if (found.state !== 'present') return undefined;
  const key = versionKeyOf(found.stat);
  const version = versions.get(key) ?? versions.size + 1;
  versions.set(key, version);
  return version;
}
