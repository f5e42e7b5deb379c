import { ListedBlocks } from '../../transfer/listed-blocks.js';
import { countListed } from '../../transfer/counted-blocks.js';
import { SnapshotSupply } from '../../transfer/snapshot-supply.js';
import { openTransferFolder } from '../../transfer/transfer-folder.js';
import { systemClock } from '../../util/clock.js';
import { connectApi, type ApiConnection } from '../api-connection.js';
import type { ApiSettings } from '../settings.js';
import {
  allWishes,
  makeSnapshot,
  makingReportOf,
  type MakingReport,
  type MakingTask,
} from './making-snapshot.js';
import { serviceNameOf } from './transfer-names.js';
import { goingOn, stateDirOf } from './transfer-task.js';

export { createLogWriter } from '../log-writer.js';
export { checkSnapshotId } from '../export-spec.js';
export { watchStopSignals } from '../stop-signals.js';

/** What `snapnbd copy` does. */
export interface CopyTask extends MakingTask {
  readonly snapshotId: string;
  /** Where to. Default: where from. */
  readonly to?: ApiSettings | undefined;
  /** At the destination. Default: none. */
  readonly parentSnapshotId?: string | undefined;
}

/** What came of it. */
export interface CopyReport extends MakingReport {
  readonly sourceSnapshotId: string;
}

/**
 * Makes a snapshot with the contents of another one, also in another region or at another endpoint.
 *
 * @throws {UsageError}, {EnvironmentError}, {CommitError}, {EbsError} in one line.
 */
export async function copySnapshot(task: CopyTask): Promise<CopyReport> {
  const { api, to = api, logger } = task;
  const context = { logger, clock: systemClock };
  const from = await connectApi(api, context);
  try {
    // Two embedded emulators cannot have one folder.
    if (
      serviceNameOf(to, process.env) === serviceNameOf(api, process.env) &&
      to.endpointUrl === api.endpointUrl
    )
      return await copyOver(task, from, from);
    const destination = await connectApi(to, { ...context, canMakeEmulator: true, meter: from.meter });
    try {
      return await copyOver(task, from, destination);
    } finally {
      await destination.close();
    }
  } finally {
    await from.close();
  }
}

async function copyOver(task: CopyTask, from: ApiConnection, to: ApiConnection): Promise<CopyReport> {
  const { snapshotId, parentSnapshotId, signal, logger, onProgress, wishes } = task;
  const startMs = performance.now();
  const usd = (): number => from.usage().usd;
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  return goingOn(signal, true, async () => {
    const source = new ListedBlocks(snapshotId, from);
    const parent = parentSnapshotId === undefined ? undefined : new ListedBlocks(parentSnapshotId, to);
    const sizesGib = await Promise.all([source.open(signal), parent?.open(signal) ?? 0]);
    const volumeSizeGib = Math.max(...sizesGib);
    const names = [
      ...['copy', snapshotId, serviceNameOf(task.to ?? task.api, process.env), parentSnapshotId ?? null],
      JSON.stringify(allWishes(wishes)),
    ];
    const folder = await openTransferFolder(stateDirOf(task), names, `the copy of ${snapshotId}`);
    let isDone = false;
    try {
      const totalCount =
        onProgress === undefined
          ? () => undefined
          : countListed(from.api, snapshotId, { logger, signal: either });
      const supply = new SnapshotSupply(source, totalCount);
      const outcome = await makeSnapshot(supply, volumeSizeGib, {
        task,
        connection: to,
        folder,
        parent,
        usd,
      });
      isDone = true;
      const report = makingReportOf(outcome, { parent, volumeSizeGib, startMs, usd: usd() });
      return { sourceSnapshotId: snapshotId, ...report };
    } finally {
      await (isDone ? folder.done() : folder.leave());
    }
  }).finally(() => stop.abort(new Error('the copy has ended')));
}
