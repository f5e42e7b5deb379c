import { crc32 } from 'node:zlib';
import { uint64, utf16Field } from '../text-field.js';
import { guidOf } from '../uuid.js';
import type { VolumeReader } from '../volume-reader.js';
import { TableType, type Partition } from './partition.js';

const MAGIC = 'EFI PART';
/** EBS volumes have the first; images of other disks may have been made with the second. */
const SECTOR_SIZES: readonly number[] = [512, 4096];
const HEADER_BYTES = 92;
const ENTRY_BYTES_MIN = 128;
/** The table is 16 KiB wherever it was not made by hand. */
const TABLE_BYTES_MAX = 1024 * 1024;
const NAME_OFFSET = 56;
const NAME_BYTES = 72;
const UNUSED = Buffer.alloc(16);

/** What a GPT says. */
export interface Gpt {
  readonly type: typeof TableType.Gpt;
  readonly diskUuid: string;
  /** The first table is damaged, and this is the copy at the end of the disk. */
  readonly isBackup: boolean;
  readonly partitions: readonly Partition[];
}

/**
 * Reads a GUID partition table, or the copy at the end of the disk where the checksums of the first are wrong.
 *
 * @returns undefined where there is neither.
 */
export async function readGpt(disk: VolumeReader, signal?: AbortSignal): Promise<Gpt | undefined> {
  for (const sectorBytes of SECTOR_SIZES) {
    const first = await readTable(disk, { sectorBytes, offset: sectorBytes }, signal);
    if (first !== undefined) return { ...first, isBackup: false };
  }
  for (const sectorBytes of SECTOR_SIZES) {
    const backup = await readTable(disk, { sectorBytes, offset: disk.sizeBytes - sectorBytes }, signal);
    if (backup !== undefined) return { ...backup, isBackup: true };
  }
  return undefined;
}

async function readTable(
  disk: VolumeReader,
  { sectorBytes, offset }: { readonly sectorBytes: number; readonly offset: number },
  signal: AbortSignal | undefined,
): Promise<Omit<Gpt, 'isBackup'> | undefined> {
  const header = await disk.readUpTo(offset, sectorBytes, signal);
  if (!isSoundHeader(header)) return undefined;
  const entryCount = header.readUInt32LE(80);
  const entryBytes = header.readUInt32LE(84);
  const tableBytes = entryCount * entryBytes;
  if (entryBytes < ENTRY_BYTES_MIN || tableBytes > TABLE_BYTES_MAX) return undefined;
  const table = await disk.readUpTo(
    Math.min(uint64(header, 72) * sectorBytes, disk.sizeBytes),
    tableBytes,
    signal,
  );
  if (table.length < tableBytes || crc32(table) !== header.readUInt32LE(88)) return undefined;
  const partitions: Partition[] = [];
  for (let index = 0; index < entryCount; index += 1) {
    const partition = partitionOf(table.subarray(index * entryBytes), index + 1, sectorBytes);
    if (partition !== undefined && partition.range.offset < disk.sizeBytes) partitions.push(partition);
  }
  return { type: TableType.Gpt, diskUuid: guidOf(header.subarray(56, 72)), partitions };
}

function isSoundHeader(header: Buffer): boolean {
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, 8) !== MAGIC) return false;
  const headerBytes = header.readUInt32LE(12);
  if (headerBytes < HEADER_BYTES || headerBytes > header.length) return false;
  const blank = Buffer.from(header.subarray(0, headerBytes));
  blank.writeUInt32LE(0, 16);
  return crc32(blank) === header.readUInt32LE(16) && Number.isSafeInteger(uint64(header, 72));
}

function partitionOf(entry: Buffer, number: number, sectorBytes: number): Partition | undefined {
  if (entry.subarray(0, 16).equals(UNUSED)) return undefined;
  const offset = uint64(entry, 32) * sectorBytes;
  const lengthBytes = (uint64(entry, 40) + 1) * sectorBytes - offset;
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(lengthBytes) || lengthBytes <= 0)
    return undefined;
  return {
    number,
    range: { offset, lengthBytes },
    name: utf16Field(entry, NAME_OFFSET, NAME_BYTES),
    uuid: guidOf(entry.subarray(16, 32)),
    typeId: guidOf(entry.subarray(0, 16)),
  };
}
