import { textField } from '../text-field.js';
import { ContentsKind, hasMagic, type Probe, type VolumeContents } from './contents.js';

/** Windows with BitLocker. It looks like NTFS otherwise, and has to be asked about first. */
export const probeBitlocker: Probe = (head) =>
  hasMagic(head, 3, '-FVE-FS-') || (hasMagic(head, 3, 'MSWIN4.1') && hasMagic(head, 424, BITLOCKER_TO_GO))
    ? { type: 'BitLocker', kind: ContentsKind.Encrypted, label: undefined, uuid: undefined }
    : undefined;

const BITLOCKER_TO_GO = Buffer.from('3bd66749292ed84a8399f6a339e3d001', 'hex');

export const probeNtfs: Probe = (head) =>
  hasMagic(head, 3, 'NTFS    ') ? filesystem('ntfs', undefined, reversedHex(head, 72, 8)) : undefined;

export const probeExfat: Probe = (head) =>
  hasMagic(head, 3, 'EXFAT   ') ? filesystem('exfat', undefined, volumeId(head, 100)) : undefined;

export const probeRefs: Probe = (head) =>
  hasMagic(head, 3, 'ReFS\0') ? filesystem('ReFS', undefined, undefined) : undefined;

const NO_NAME = 'NO NAME';

/** FAT with 12, 16 or 32 bits. The name of its type stands behind the label, at one of two places. */
export const probeFat: Probe = (head) => {
  if (head.length < 512 || head.readUInt16LE(510) !== 0xaa55) return undefined;
  const sectorBytes = head.readUInt16LE(11);
  const isSound =
    [512, 1024, 2048, 4096].includes(sectorBytes) && head.readUInt8(13) !== 0 && head.readUInt8(16) !== 0;
  if (!isSound) return undefined;
  if (hasMagic(head, 82, 'FAT32   ')) return filesystem('vfat', fatLabel(head, 71), volumeId(head, 67));
  if (hasMagic(head, 54, 'FAT12   ') || hasMagic(head, 54, 'FAT16   ') || hasMagic(head, 54, 'FAT     ')) {
    return filesystem('vfat', fatLabel(head, 43), volumeId(head, 39));
  }
  return undefined;
};

export const probeIso9660: Probe = (head) =>
  hasMagic(head, 32_768, '\u0001CD001')
    ? filesystem('iso9660', textField(head, 32_768 + 40, 32), undefined)
    : undefined;

/** UDF announces itself in one of the sectors of 2 KiB that descriptors begin with, behind those of ISO 9660. */
export const probeUdf: Probe = (head) => {
  for (let at = 32_768; at + 2048 <= head.length; at += 2048) {
    if (hasMagic(head, at + 1, 'NSR02') || hasMagic(head, at + 1, 'NSR03'))
      return filesystem('udf', undefined, undefined);
  }
  return undefined;
};

/** A disk of a ZFS pool: its label begins with a list, in XDR, whose first entry is `version`. */
export const probeZfs: Probe = (head) =>
  hasMagic(head, ZFS_LIST_OFFSET, '\u0001') && hasMagic(head, ZFS_LIST_OFFSET + 20, '\0\0\0\u0007version')
    ? { type: 'zfs_member', kind: ContentsKind.Member, label: undefined, uuid: undefined }
    : undefined;

const ZFS_LIST_OFFSET = 16_384;

export const probeHfsPlus: Probe = (head) =>
  hasMagic(head, 1024, 'H+\0\u0004') || hasMagic(head, 1024, 'HX\0\u0005')
    ? filesystem('hfsplus', undefined, undefined)
    : undefined;

export const probeApfs: Probe = (head) =>
  hasMagic(head, 32, 'NXSB') ? filesystem('apfs', undefined, undefined) : undefined;

function fatLabel(head: Buffer, offset: number): string | undefined {
  const label = textField(head, offset, 11);
  return label === NO_NAME ? undefined : label;
}

/** `1A2B-3C4D`. */
function volumeId(head: Buffer, offset: number): string {
  const hex = reversedHex(head, offset, 4);
  return `${hex.slice(0, 4)}-${hex.slice(4)}`;
}

function reversedHex(head: Buffer, offset: number, lengthBytes: number): string {
  return Buffer.from(head.subarray(offset, offset + lengthBytes))
    .reverse()
    .toString('hex')
    .toUpperCase();
}

function filesystem(type: string, label: string | undefined, uuid: string | undefined): VolumeContents {
  return { type, kind: ContentsKind.Filesystem, label, uuid };
}
