import { chmod, realpath, rename, rm, stat } from 'node:fs/promises';
import { createWriteStream, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Writable } from 'node:stream';
import { BLOCKS_PER_GIB } from '../../ebs/constants.js';
import { countListed } from '../../transfer/counted-blocks.js';
import type { DigestJournal } from '../../transfer/digest-journal.js';
import { download } from '../../transfer/download.js';
import { ImageTarget } from '../../transfer/image-target.js';
import { ListedBlocks } from '../../transfer/listed-blocks.js';
import { streamDownload } from '../../transfer/stream-download.js';
import { imageError } from '../../transfer/transfer-error.js';
import { openTransferFolder } from '../../transfer/transfer-folder.js';
import type { OnProgress, TransferCounts } from '../../transfer/transfer-progress.js';
import { systemClock } from '../../util/clock.js';
import { EnvironmentError, systemCodeOf, UsageError } from '../../util/errors.js';
import { GIB } from '../../util/units.js';
import { connectApi, type ApiConnection } from '../api-connection.js';
import { DEFAULT_API_IN_FLIGHT_MAX } from '../settings.js';
import { isNamedPipe, writeToPipe } from './pipes.js';
import { convertToQcow2, requireQemuImg } from './qcow2.js';
import {
  findDataWith,
  goingOn,
  roundedUsd,
  stateDirOf,
  syncFolder,
  type TransferReport,
  type TransferTask,
} from './transfer-task.js';

export { createLogWriter } from '../log-writer.js';
export { checkSnapshotId } from '../export-spec.js';
export { watchStopSignals } from '../stop-signals.js';

/** Of an image in a file. */
export const ImageFormat = { Raw: 'raw', Qcow2: 'qcow2' } as const;
export type ImageFormat = (typeof ImageFormat)[keyof typeof ImageFormat];

/** What `snapnbd download` does. */
export interface DownloadTask extends TransferTask {
  readonly snapshotId: string;
  /** A file, which is replaced when all of it is there; a block device; a pipe; `-`: `stdout`. */
  readonly target: string;
  readonly format: ImageFormat;
  readonly stdout: Writable;
}

/** What came of it. */
export interface DownloadReport extends TransferReport {
  readonly target: string;
  readonly format: ImageFormat;
}

/** What a download has at hand. */
interface Download {
  readonly task: DownloadTask;
  readonly connection: ApiConnection;
  readonly source: ListedBlocks;
  readonly volumeSizeGib: number;
  readonly inFlightMax: number;
  readonly totalCount: () => number | undefined;
  readonly onProgress: OnProgress;
}

/** What a target is, as far as that makes a difference. */
const TargetKind = { File: 'file', Device: 'device', Stream: 'stream' } as const;
type TargetKind = (typeof TargetKind)[keyof typeof TargetKind];

/**
 * Brings a whole snapshot into a file, onto a device or through a pipe.
 *
 * @throws {UsageError}, {EnvironmentError}, {EbsError} in one line.
 */
export async function downloadSnapshot(task: DownloadTask): Promise<DownloadReport> {
  const { snapshotId, target, format, logger, signal } = task;
  const startMs = performance.now();
  const kind = await kindOf(target);
  if (format === ImageFormat.Qcow2) {
    if (kind !== TargetKind.File)
      throw new UsageError(`Cannot write qcow2 to "${target}": it has to be a file. Use --format raw.`);
    await requireQemuImg();
  }
  const connection = await connectApi(task.api, { logger, clock: systemClock });
  const stop = new AbortController();
  try {
    return await goingOn(signal, kind !== TargetKind.Stream, async () => {
      const source = new ListedBlocks(snapshotId, connection);
      const volumeSizeGib = await source.open(signal);
      const either = AbortSignal.any([signal, stop.signal]);
      const { onProgress } = task;
      const context: Download = {
        ...{ task, connection, source, volumeSizeGib },
        inFlightMax: task.api.inFlightMax ?? DEFAULT_API_IN_FLIGHT_MAX,
        totalCount:
          onProgress === undefined
            ? () => undefined
            : countListed(connection.api, snapshotId, { logger, signal: either }),
        onProgress: (progress) => onProgress?.(progress, connection.usage().usd),
      };
      const counts = await RUNS[kind](context);
      return {
        ...{ snapshotId, target, format, volumeSizeGib },
        sizeBytes: volumeSizeGib * GIB,
        movedBlockCount: counts.movedCount,
        keptBlockCount: counts.keptCount,
        skippedBlockCount: counts.skippedCount,
        seconds: (performance.now() - startMs) / 1000,
        costUsd: roundedUsd(connection.usage().usd),
      };
    });
  } finally {
    stop.abort(new Error('the download has ended'));
    await connection.close();
  }
}

const RUNS: Readonly<Record<TargetKind, (context: Download) => Promise<TransferCounts>>> = {
  [TargetKind.File]: toFile,
  [TargetKind.Device]: toDevice,
  [TargetKind.Stream]: toStream,
};

async function kindOf(target: string): Promise<TargetKind> {
  if (target === '-') return TargetKind.Stream;
  if (target === '')
    throw new UsageError('Cannot write to "": name a file, a block device, or - for standard output.');
  const stats = await statOrNone(target);
  if (stats === undefined || stats.isFile()) return TargetKind.File;
  if (stats.isBlockDevice()) return TargetKind.Device;
  if (stats.isDirectory())
    throw new EnvironmentError(`Cannot write "${target}": it is a folder. Name a file in it.`);
  return TargetKind.Stream;
}

async function statOrNone(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw imageError('write', path, error);
  }
}

/** Under another name until all of it is there. */
async function toFile(context: Download): Promise<TransferCounts> {
  const { task, volumeSizeGib } = context;
  const { snapshotId, format, logger, signal } = task;
  const earlier = await statOrNone(task.target);
  // What a link leads to is replaced, not the link.
  const path = earlier === undefined ? await newPath(task.target) : await realpath(task.target);
  const partPath = `${path}.${snapshotId}.part`;
  return withJournal(path, context, async (journal, goesOn) => {
    const hasPart = (await statOrNone(partPath)) !== undefined;
    if (hasPart && !goesOn) await rm(partPath);
    const target = await ImageTarget.openFile(partPath, volumeSizeGib * GIB, findDataWith(logger));
    const counts = await fill(target, journal, hasPart && goesOn, context);
    const finalPath =
      format === ImageFormat.Qcow2 ? await convertToQcow2(partPath, `${partPath}.qcow2`, signal) : partPath;
    if (earlier !== undefined) await chmod(finalPath, earlier.mode & 0o777);
    await rename(finalPath, path).catch((error: unknown) => {
      throw imageError('write', path, error);
    });
    if (finalPath !== partPath) await rm(partPath);
    await syncFolder(dirname(path));
    return counts;
  });
}

/** One spelling for each file that is to be made, so that two who make it know of each other. */
async function newPath(target: string): Promise<string> {
  const path = resolve(target);
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    throw imageError('write', target, error);
  });
  return join(folder, basename(path));
}

async function toDevice(context: Download): Promise<TransferCounts> {
  const path = await realpath(context.task.target);
  return withJournal(path, context, async (journal) => {
    const target = await ImageTarget.openDevice(path, context.volumeSizeGib * GIB);
    return fill(target, journal, true, context);
  });
}

/** Runs with the journal of a download to a path, which is kept when it fails. */
async function withJournal<T>(
  path: string,
  { task, volumeSizeGib }: Download,
  run: (journal: DigestJournal, goesOn: boolean) => Promise<T>,
): Promise<T> {
  const { snapshotId } = task;
  const folder = await openTransferFolder(stateDirOf(task), ['download', snapshotId, path], `"${path}"`);
  let isDone = false;
  try {
    const facts = { kind: 'download', volumeSizeGib };
    const goesOn = JSON.stringify(folder.journal.state) === JSON.stringify(facts);
    if (!goesOn) await folder.journal.restart(facts);
    const result = await run(folder.journal, goesOn);
    isDone = true;
    return result;
  } finally {
    await (isDone ? folder.done() : folder.leave());
  }
}

async function fill(
  target: ImageTarget,
  journal: DigestJournal,
  isTargetUsed: boolean,
  context: Download,
): Promise<TransferCounts> {
  const blockCount = context.volumeSizeGib * BLOCKS_PER_GIB;
  try {
    return await download({ ...context, target, journal, isTargetUsed, blockCount }, context.task.signal);
  } finally {
    await target.close();
  }
}

async function toStream(context: Download): Promise<TransferCounts> {
  const { task, volumeSizeGib } = context;
  const isStdout = task.target === '-';
  const stream = isStdout ? task.stdout : await openStream(task.target, task.signal);
  const name = isStdout ? 'standard output' : `"${task.target}"`;
  const options = { ...context, stream, name, blockCount: volumeSizeGib * BLOCKS_PER_GIB };
  try {
    const counts = await streamDownload(options, task.signal);
    if (!isStdout) {
      stream.end();
      await finished(stream, { readable: false });
    }
    return counts;
  } finally {
    if (!isStdout) stream.destroy();
  }
}

async function openStream(path: string, signal: AbortSignal): Promise<Writable> {
  return (await isNamedPipe(path)) ? writeToPipe(path, signal) : createWriteStream(path, { flags: 'r+' });
}
