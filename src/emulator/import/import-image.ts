import { systemClock, type Clock } from '../../util/clock.js';
import { EnvironmentError } from '../../util/errors.js';
import { silentLogger, type Logger } from '../../util/logger.js';
import { SnapshotOrigin, SnapshotState, newMetadata, type SnapshotMetadata } from '../store/metadata.js';
import { SnapshotBuilder, asStoringError } from '../store/snapshot-builder.js';
import { newSnapshotId } from '../store/snapshot-id.js';
import { SnapshotReader } from '../store/snapshot-reader.js';
import { Image } from './image.js';
import { Importer, type ImportProgress } from './importer.js';

export interface ImportOptions {
  /** The emulator's folder; made when there is none. A server may be running on it. */
  readonly dir: string;
  /** A raw image or a block device. */
  readonly imagePath: string;
  /** A complete snapshot of the folder: only what differs from it is stored. */
  readonly parent?: string;
  readonly description?: string;
  readonly onProgress?: (progress: ImportProgress) => void;
  /** Ends the import without a trace. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/**
 * Makes a snapshot of an image: padded with zeros to whole GiB, holes and blocks of zeros left out, but for blocks
 * of zeros where the parent has data, which are stored as such. Memory is bounded whatever the image's size.
 *
 * @returns the id of the snapshot, which is complete, durable, and visible to a server on the same folder.
 * @throws {EnvironmentError} when the image or the folder cannot be used; the signal's reason.
 */
export async function importImage(options: ImportOptions): Promise<string> {
  const { clock = systemClock } = options;
  const image = await Image.open(options.imagePath);
  let reader: SnapshotReader | undefined;
  try {
    reader = await SnapshotReader.open(options.dir);
    const parent = await findParent(reader, options.parent);
    const metadata = describe(options, image, parent, clock.dateMs());
    const view = parent === undefined ? undefined : await reader.views.view(parent.snapshotId);
    const builder = await SnapshotBuilder.create(reader.layout, metadata, view);
    try {
      const importer = new Importer({
        ...{ image, builder },
        blocks: reader.blocks,
        parent: view,
        logger: options.logger ?? silentLogger,
        onProgress: options.onProgress,
        signal: options.signal,
      });
      await importer.run(metadata.volumeSizeGib);
      await builder.publish(clock.dateMs());
    } catch (error) {
      await builder.abandon();
      throw error;
    }
    return metadata.snapshotId;
  } catch (error) {
    throw reader === undefined ? error : asStoringError(reader.layout, error);
  } finally {
    await reader?.close();
    await image.close();
  }
}

async function findParent(
  reader: SnapshotReader,
  parentId: string | undefined,
): Promise<SnapshotMetadata | undefined> {
  if (parentId === undefined) return undefined;
  const parent = await reader.catalog.find(parentId);
  if (parent === undefined)
    throw new EnvironmentError(`Cannot use ${parentId} as parent: there is no such snapshot in this folder.`);
  if (parent.state !== SnapshotState.Completed)
    throw new EnvironmentError(`Cannot use ${parentId} as parent: it is ${parent.state}, not complete.`);
  return parent;
}

function describe(
  options: ImportOptions,
  image: Image,
  parent: SnapshotMetadata | undefined,
  startTimeMs: number,
): SnapshotMetadata {
  const volumeSizeGib = Math.max(image.volumeSizeGib, parent?.volumeSizeGib ?? 0);
  const snapshotId = newSnapshotId();
  return {
    ...newMetadata(snapshotId, volumeSizeGib, startTimeMs),
    origin: SnapshotOrigin.Import,
    description: options.description ?? null,
    parentSnapshotId: parent?.snapshotId ?? null,
    lineageRootId: parent?.lineageRootId ?? snapshotId,
    kmsKeyArn: parent?.kmsKeyArn ?? null,
  };
}
