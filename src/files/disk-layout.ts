import type { BlockDevice } from '../device/block-device.js';
import { readGpt } from './partitions/gpt.js';
import { readMbr } from './partitions/mbr.js';
import { TableType, type Partition } from './partitions/partition.js';
import type { VolumeContents } from './recognition/contents.js';
import { recogniseVolume } from './recognition/recognise.js';
import { VolumeReader } from './volume-reader.js';

/** A partition, or the whole of a disk that has none, and what it holds. */
export interface Volume extends Omit<Partition, 'number' | 'typeId'> {
  /** Undefined for the whole disk. */
  readonly number: number | undefined;
  /** Undefined for the whole disk. */
  readonly typeId: string | undefined;
  /** Undefined where nothing is recognised. */
  readonly contents: VolumeContents | undefined;
}

/** How a disk is divided, and what is in the parts. */
export interface DiskLayout {
  readonly table: TableType;
  /** In the order of the table. Exactly one, the whole disk, where there is no table. */
  readonly volumes: readonly Volume[];
}

/** More are named without a look at what they hold: each look costs reads. */
const RECOGNISED_MAX = 256;

/**
 * Finds out how a disk is divided and what its parts hold.
 *
 * A GPT counts where the first sector announces it or nothing else is found there: one that is left over from before
 * the disk got another table, or a filesystem as a whole, does not.
 *
 * @throws whatever the device throws; a disk that makes no sense is one volume that is not recognised.
 */
export async function readDiskLayout(device: BlockDevice, signal?: AbortSignal): Promise<DiskLayout> {
  const disk = new VolumeReader(device);
  const mbr = await readMbr(disk, signal);
  if (mbr !== undefined && !mbr.isProtective) return layoutOf(device, TableType.Mbr, mbr.partitions, signal);
  const whole = mbr === undefined ? await recogniseVolume(disk, signal) : undefined;
  if (whole === undefined) {
    const gpt = await readGpt(disk, signal);
    if (gpt !== undefined) return layoutOf(device, TableType.Gpt, gpt.partitions, signal);
    if (mbr !== undefined) return layoutOf(device, TableType.Mbr, mbr.partitions, signal);
  }
  return {
    table: TableType.None,
    volumes: [
      {
        number: undefined,
        typeId: undefined,
        name: undefined,
        uuid: undefined,
        range: { offset: 0, lengthBytes: device.sizeBytes },
        contents: whole,
      },
    ],
  };
}

async function layoutOf(
  device: BlockDevice,
  table: TableType,
  partitions: readonly Partition[],
  signal: AbortSignal | undefined,
): Promise<DiskLayout> {
  const volumes = await Promise.all(
    partitions.map(async (partition, index): Promise<Volume> => {
      const isLooked = index < RECOGNISED_MAX;
      const contents = isLooked
        ? await recogniseVolume(new VolumeReader(device, partition.range), signal)
        : undefined;
      return { ...partition, contents };
    }),
  );
  return { table, volumes };
}
