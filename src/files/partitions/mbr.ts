import type { VolumeReader } from '../volume-reader.js';
import type { Partition } from './partition.js';

export const SECTOR_BYTES = 512;

const TABLE_OFFSET = 446;
const ENTRY_BYTES = 16;
const SIGNATURE = 0xaa55;
/** The types of an extended partition, which holds a chain of others. */
const EXTENDED_TYPES: readonly number[] = [0x05, 0x0f, 0x85];
const PROTECTIVE_TYPE = 0xee;
const FIRST_LOGICAL = 5;
/** As many as Linux numbers. A chain that is longer is a circle. */
const LOGICAL_MAX = 60;

interface Entry {
  readonly type: number;
  readonly startSector: number;
  readonly sectorCount: number;
}

/** What the first sector says. */
export interface Mbr {
  /** It only protects a GPT from who does not know that. */
  readonly isProtective: boolean;
  readonly partitions: readonly Partition[];
}

/**
 * Reads the partition table of a PC, with its logical partitions.
 *
 * @returns undefined where the first sector holds none: a boot sector of a filesystem has the same signature, but no
 *   entries that make sense.
 */
export async function readMbr(disk: VolumeReader, signal?: AbortSignal): Promise<Mbr | undefined> {
  const sector = await disk.readUpTo(0, SECTOR_BYTES, signal);
  const entries = entriesOf(sector, disk.sizeBytes);
  if (entries === undefined) return undefined;
  const diskId = sector.readUInt32LE(440).toString(16).padStart(8, '0');
  const partitions: Partition[] = [];
  for (const [index, entry] of entries.entries()) {
    if (entry.type === 0 || entry.sectorCount === 0 || EXTENDED_TYPES.includes(entry.type)) continue;
    partitions.push(partitionOf(index + 1, entry, diskId));
  }
  for (const entry of entries) {
    if (!EXTENDED_TYPES.includes(entry.type)) continue;
    partitions.push(...(await readLogical(disk, entry, diskId, signal)));
    break;
  }
  return { isProtective: entries.some(({ type }) => type === PROTECTIVE_TYPE), partitions };
}

/** The entries of a table; undefined for what is no table. */
function entriesOf(sector: Buffer, diskBytes: number): readonly Entry[] | undefined {
  if (sector.length < SECTOR_BYTES || sector.readUInt16LE(510) !== SIGNATURE) return undefined;
  const entries: Entry[] = [];
  for (let index = 0; index < 4; index += 1) {
    const at = TABLE_OFFSET + index * ENTRY_BYTES;
    if ((sector.readUInt8(at) & 0x7f) !== 0) return undefined;
    entries.push({
      type: sector.readUInt8(at + 4),
      startSector: sector.readUInt32LE(at + 8),
      sectorCount: sector.readUInt32LE(at + 12),
    });
  }
  const used = entries.filter(({ type, sectorCount }) => type !== 0 && sectorCount !== 0);
  const isSound = used.every(({ startSector }) => startSector > 0 && startSector * SECTOR_BYTES < diskBytes);
  return used.length > 0 && isSound ? entries : undefined;
}

/** Each sector of the chain has one partition, beginning relative to it, and the next sector, relative to the first. */
async function readLogical(
  disk: VolumeReader,
  extended: Entry,
  diskId: string,
  signal: AbortSignal | undefined,
): Promise<readonly Partition[]> {
  const partitions: Partition[] = [];
  let sector = extended.startSector;
  for (let count = 0; count < LOGICAL_MAX; count += 1) {
    const bytes = await disk.readUpTo(sector * SECTOR_BYTES, SECTOR_BYTES, signal);
    if (bytes.length < SECTOR_BYTES || bytes.readUInt16LE(510) !== SIGNATURE) break;
    const [own, next] = [entryAt(bytes, 0), entryAt(bytes, 1)];
    if (own.type !== 0 && own.sectorCount !== 0) {
      const startSector = sector + own.startSector;
      if (startSector * SECTOR_BYTES >= disk.sizeBytes) break;
      partitions.push(partitionOf(FIRST_LOGICAL + partitions.length, { ...own, startSector }, diskId));
    }
    if (!EXTENDED_TYPES.includes(next.type) || next.startSector === 0) break;
    sector = extended.startSector + next.startSector;
  }
  return partitions;
}

function entryAt(sector: Buffer, index: number): Entry {
  const at = TABLE_OFFSET + index * ENTRY_BYTES;
  return {
    type: sector.readUInt8(at + 4),
    startSector: sector.readUInt32LE(at + 8),
    sectorCount: sector.readUInt32LE(at + 12),
  };
}

function partitionOf(number: number, { type, startSector, sectorCount }: Entry, diskId: string): Partition {
  return {
    number,
    range: { offset: startSector * SECTOR_BYTES, lengthBytes: sectorCount * SECTOR_BYTES },
    name: undefined,
    uuid: diskId === '00000000' ? undefined : `${diskId}-${number.toString(16).padStart(2, '0')}`,
    typeId: `0x${type.toString(16).padStart(2, '0')}`,
  };
}
