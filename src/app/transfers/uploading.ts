import { createReadStream } from 'node:fs';
import { realpath } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { ImageSupply } from '../../transfer/image-supply.js';
import { ListedBlocks } from '../../transfer/listed-blocks.js';
import type { PutOutcome } from '../../transfer/put-snapshot.js';
import { spool } from '../../transfer/spool.js';
import { StreamSupply } from '../../transfer/stream-supply.js';
import { openTransferFolder, type TransferFolder } from '../../transfer/transfer-folder.js';
import { systemClock } from '../../util/clock.js';
import { UsageError } from '../../util/errors.js';
import { formatBytes, GIB } from '../../util/units.js';
import { connectApi, type ApiConnection } from '../api-connection.js';
import {
  allWishes,
  makeSnapshot,
  makingReportOf,
  type MakingReport,
  type MakingTask,
} from './making-snapshot.js';
import { isNamedPipe, readFromPipe } from './pipes.js';
import { serviceNameOf } from './transfer-names.js';
import { findDataWith, goingOn, stateDirOf } from './transfer-task.js';

export { createLogWriter } from '../log-writer.js';
export { checkSnapshotId } from '../export-spec.js';
export { watchStopSignals } from '../stop-signals.js';

/** What `snapnbd upload` does. */
export interface UploadTask extends MakingTask {
  /** A raw image in a file, a block device, a pipe, or `-`: `stdin`. */
  readonly source: string;
  readonly stdin: Readable;
  /** Default: none. */
  readonly parentSnapshotId?: string | undefined;
  /** Default: as much as the image and the parent need. */
  readonly volumeSizeGib?: number | undefined;
}

/** What the parts of an upload share. */
interface Upload {
  readonly task: UploadTask;
  readonly connection: ApiConnection;
  readonly folder: TransferFolder;
  readonly parent: ListedBlocks | undefined;
  readonly parentSizeGib: number;
  readonly usd: () => number;
}

/**
 * Makes a snapshot of a raw image.
 *
 * @throws {UsageError}, {EnvironmentError}, {CommitError}, {EbsError} in one line.
 */
export async function uploadImage(task: UploadTask): Promise<MakingReport> {
  const { parentSnapshotId, signal, logger, source } = task;
  const startMs = performance.now();
  if (source === '')
    throw new UsageError('Cannot upload "": name a file, a block device, or - for standard input.');
  const image = source === '-' ? undefined : await ImageSupply.open(source, findDataWith(logger));
  try {
    const connection = await connectApi(task.api, { logger, clock: systemClock, canMakeEmulator: true });
    try {
      return await goingOn(signal, true, async () => {
        const usd = (): number => connection.usage().usd;
        const parent =
          parentSnapshotId === undefined ? undefined : new ListedBlocks(parentSnapshotId, connection);
        const parentSizeGib = (await parent?.open(signal)) ?? 0;
        const folder = await openUploadFolder(task);
        const context = { task, connection, folder, parent, parentSizeGib, usd };
        let isDone = false;
        try {
          const { outcome, volumeSizeGib } = await (image === undefined
            ? uploadStream(context)
            : uploadFile(image, context));
          isDone = true;
          return makingReportOf(outcome, { parent, volumeSizeGib, startMs, usd: usd() });
        } finally {
          await (isDone ? folder.done() : folder.leave());
        }
      });
    } finally {
      await connection.close();
    }
  } finally {
    await image?.close();
  }
}

async function openUploadFolder(task: UploadTask): Promise<TransferFolder> {
  const { source, parentSnapshotId = null, wishes, api, volumeSizeGib } = task;
  const path = source === '-' ? '-' : await realpath(source);
  const names = [
    ...['upload', path, serviceNameOf(api, process.env), parentSnapshotId],
    ...[JSON.stringify(allWishes(wishes)), String(volumeSizeGib)],
  ];
  return openTransferFolder(stateDirOf(task), names, source === '-' ? 'standard input' : `"${path}"`);
}

interface Uploaded {
  readonly outcome: PutOutcome;
  readonly volumeSizeGib: number;
}

async function uploadFile(image: ImageSupply, context: Upload): Promise<Uploaded> {
  const volumeSizeGib = sizeFor(image.sizeBytes, context);
  return { outcome: await makeSnapshot(image, volumeSizeGib, context), volumeSizeGib };
}

async function uploadStream(context: Upload): Promise<Uploaded> {
  const { source, stdin } = context.task;
  if (source === '-') return uploadFrom(stdin, 'standard input', context);
  const stream = await openStream(source);
  try {
    return await uploadFrom(stream, `"${source}"`, context);
  } finally {
    stream.destroy();
  }
}

async function uploadFrom(stream: Readable, name: string, context: Upload): Promise<Uploaded> {
  const { task, folder, usd } = context;
  const { signal, logger, onProgress } = task;
  if (task.volumeSizeGib !== undefined) {
    const volumeSizeGib = sizeFor(0, context);
    return {
      outcome: await makeSnapshot(new StreamSupply(stream, name, volumeSizeGib), volumeSizeGib, context),
      volumeSizeGib,
    };
  }
  const image = await spool(
    {
      ...{ stream, name, folder: folder.path },
      findData: findDataWith(logger),
      onProgress: (progress) => onProgress?.(progress, usd()),
    },
    signal,
  );
  try {
    return await uploadFile(image, context);
  } finally {
    await image.close();
  }
}

async function openStream(path: string): Promise<Readable> {
  return (await isNamedPipe(path)) ? readFromPipe(path) : createReadStream(path);
}

/** The volume that holds the image and is at least as large as the parent. [ebs: StartSnapshot / VolumeSize] */
function sizeFor(imageBytes: number, { task, parentSizeGib }: Upload): number {
  const neededGib = Math.max(1, Math.ceil(imageBytes / GIB), parentSizeGib);
  const { volumeSizeGib = neededGib } = task;
  if (volumeSizeGib < neededGib) {
    const what = neededGib === parentSizeGib ? 'the parent' : 'the image';
    throw new UsageError(
      `Cannot use --volume-size ${volumeSizeGib}: ${what} has ${formatBytes(Math.max(imageBytes, parentSizeGib * GIB))}, which takes ${neededGib} GiB.`,
    );
  }
  return volumeSizeGib;
}
