import { extTypeOf, isExtSuperblock, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET } from '../ext/superblock.js';
import { textField } from '../text-field.js';
import { uuidOf } from '../uuid.js';
import { ContentsKind, hasMagic, type Probe } from './contents.js';

const BTRFS_OFFSET = 65_536;

/** ext2, ext3, ext4, and their journals on other disks. */
export const probeExt: Probe = (head) => {
  const superblock = head.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES);
  if (!isExtSuperblock(superblock)) return undefined;
  const type = extTypeOf(superblock);
  return {
    type,
    kind: type === 'jbd' ? ContentsKind.Other : ContentsKind.Filesystem,
    label: textField(superblock, 0x78, 16),
    uuid: uuidOf(superblock.subarray(0x68, 0x78)),
  };
};

export const probeXfs: Probe = (head) =>
  hasMagic(head, 0, 'XFSB') && head.length >= 512
    ? filesystem('xfs', textField(head, 108, 12), uuidOf(head.subarray(32, 48)))
    : undefined;

export const probeBtrfs: Probe = (head) =>
  hasMagic(head, BTRFS_OFFSET + 64, '_BHRfS_M') && head.length >= BTRFS_OFFSET + 0x1000
    ? filesystem(
        'btrfs',
        textField(head, BTRFS_OFFSET + 0x12b, 256),
        uuidOf(head.subarray(BTRFS_OFFSET + 32, BTRFS_OFFSET + 48)),
      )
    : undefined;

export const probeF2fs: Probe = (head) =>
  hasMagic(head, 1024, Buffer.from('1020f5f2', 'hex'))
    ? filesystem('f2fs', undefined, uuidOf(head.subarray(1024 + 108, 1024 + 124)))
    : undefined;

export const probeErofs: Probe = (head) =>
  hasMagic(head, 1024, Buffer.from('e2e1f5e0', 'hex'))
    ? filesystem('erofs', textField(head, 1024 + 64, 16), uuidOf(head.subarray(1024 + 48, 1024 + 64)))
    : undefined;

export const probeSquashfs: Probe = (head) =>
  hasMagic(head, 0, 'hsqs') ? filesystem('squashfs', undefined, undefined) : undefined;

/** Its signature is at the end of the first page, whatever size pages had where it was made. */
export const probeSwap: Probe = (head) => {
  for (const pageBytes of [4096, 8192, 16_384, 32_768, 65_536]) {
    if (!hasMagic(head, pageBytes - 10, 'SWAPSPACE2') && !hasMagic(head, pageBytes - 10, 'SWAP-SPACE'))
      continue;
    return {
      type: 'swap',
      kind: ContentsKind.Other,
      label: textField(head, 1052, 16),
      uuid: uuidOf(head.subarray(1036, 1052)),
    };
  }
  return undefined;
};

/** A physical volume of LVM: its label is in one of the first four sectors. */
export const probeLvm: Probe = (head) => {
  for (let sector = 0; sector < 4; sector += 1) {
    const at = sector * 512;
    if (!hasMagic(head, at, 'LABELONE') || !hasMagic(head, at + 24, 'LVM2 001')) continue;
    const uuid = head.toString('latin1', at + 32, at + 64);
    return {
      type: 'LVM2_member',
      kind: ContentsKind.Member,
      label: undefined,
      uuid: uuid.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7'),
    };
  }
  return undefined;
};

export const probeLuks: Probe = (head) => {
  if (!hasMagic(head, 0, Buffer.from('4c554b53babe', 'hex')) || head.length < 512) return undefined;
  return {
    type: 'crypto_LUKS',
    kind: ContentsKind.Encrypted,
    label: head.readUInt16BE(6) === 2 ? textField(head, 24, 48) : undefined,
    uuid: textField(head, 168, 40),
  };
};

const MD_MAGIC = Buffer.from('fc4e2ba9', 'hex');

/** Linux software RAID with its superblock at the beginning: versions 1.1 and 1.2. */
export const probeMdRaid: Probe = (head) => {
  for (const at of [0, 4096]) {
    if (!hasMagic(head, at, MD_MAGIC) || head.length < at + 256 || head.readUInt32LE(at + 4) !== 1) continue;
    return raidMember(textField(head, at + 32, 32), uuidOf(head.subarray(at + 16, at + 32)));
  }
  return undefined;
};

/** The same with its superblock at the end: `tail` is the last 128 KiB of the volume, or all of it. */
export function probeMdRaidTail(tail: Buffer, volumeBytes: number): ReturnType<Probe> {
  const start = volumeBytes - tail.length;
  // Version 1.0: 8 KiB before the end, down to 4 KiB. Version 0.90: the last whole 64 KiB but one.
  const newer = Math.floor((volumeBytes - 8192) / 4096) * 4096 - start;
  if (newer >= 0 && hasMagic(tail, newer, MD_MAGIC) && tail.readUInt32LE(newer + 4) === 1) {
    return raidMember(textField(tail, newer + 32, 32), uuidOf(tail.subarray(newer + 16, newer + 32)));
  }
  const older = Math.floor(volumeBytes / 65_536) * 65_536 - 65_536 - start;
  if (older >= 0 && hasMagic(tail, older, MD_MAGIC) && tail.readUInt32LE(older + 4) === 0) {
    return raidMember(undefined, undefined);
  }
  return undefined;
}

function raidMember(label: string | undefined, uuid: string | undefined): NonNullable<ReturnType<Probe>> {
  return { type: 'linux_raid_member', kind: ContentsKind.Member, label, uuid };
}

function filesystem(
  type: string,
  label: string | undefined,
  uuid: string | undefined,
): NonNullable<ReturnType<Probe>> {
  return { type, kind: ContentsKind.Filesystem, label, uuid };
}
