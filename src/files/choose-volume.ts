import { EnvironmentError } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import type { DiskLayout, Volume } from './disk-layout.js';
import { TableType } from './partitions/partition.js';
import { ContentsKind } from './recognition/contents.js';

/** The type of the partition that firmware starts from: small, and never what is looked for. */
const EFI_SYSTEM = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';

/** What to do about volumes that cannot be read at once, by type. */
const ADVICE: Readonly<Record<string, string>> = {
  LVM2_member:
    'a physical volume of LVM: attach the disk ("snapnbd serve", nbd-client), then "vgchange -ay" and mount the logical volume',
  crypto_LUKS:
    'encrypted with LUKS: attach the disk ("snapnbd serve", nbd-client), then "cryptsetup open --readonly DEVICE NAME" and mount /dev/mapper/NAME',
  BitLocker:
    'encrypted with BitLocker: attach the disk ("snapnbd serve", nbd-client), then "cryptsetup bitlkOpen --readonly DEVICE NAME" and mount /dev/mapper/NAME',
  linux_raid_member:
    'a member of a RAID: attach all of its disks ("snapnbd serve", nbd-client), then "mdadm --assemble --readonly" and mount it',
  zfs_member:
    'a member of a ZFS pool: attach all of its disks ("snapnbd serve", nbd-client), then "zpool import -o readonly=on -f -R DIR POOL"',
  swap: 'swap space, which holds no files',
  jbd: 'the journal of a filesystem on another disk, which holds no files',
};

/**
 * Chooses the volume that is meant.
 *
 * @param wanted the number of a partition, or the label or UUID of its filesystem, or its own name or UUID. Default: the
 *   only one with a filesystem; that which firmware starts from counts only where there is no other.
 * @throws {EnvironmentError} in one line that says what there is, where none or several fit.
 */
export function chooseVolume(layout: DiskLayout, wanted?: string): Volume {
  const candidates = wanted === undefined ? defaultsOf(layout) : layout.volumes.filter(matches(wanted));
  const [chosen, other] = candidates;
  const all = describeVolumes(layout);
  if (chosen === undefined) {
    if (wanted !== undefined)
      throw new EnvironmentError(`Cannot find the partition "${wanted}": there is ${all}.`);
    const [only] = layout.volumes;
    if (only !== undefined && layout.volumes.length === 1) refuseOthers(only);
    throw new EnvironmentError(`Cannot find a filesystem: there is ${all}.`);
  }
  if (other !== undefined) {
    throw new EnvironmentError(
      `Cannot choose a partition: name one with --partition NUMBER, LABEL or UUID. There is ${all}.`,
    );
  }
  refuseOthers(chosen);
  return chosen;
}

/** The volumes of a disk on one line, for people. */
export function describeVolumes({ table, volumes }: DiskLayout): string {
  if (table === TableType.None) return `no partition table, and ${describe(volumes[0])} on the whole disk`;
  if (volumes.length === 0) return `a partition table (${table}) without partitions`;
  return volumes.map((volume) => `partition ${volume.number ?? 0} (${describe(volume)})`).join(', ');
}

function describe(volume: Volume | undefined): string {
  const { contents, name, range } = volume ?? {};
  const parts = [contents?.type ?? 'nothing that is known'];
  if (contents?.label !== undefined) parts.push(`label ${JSON.stringify(contents.label)}`);
  if (contents?.uuid !== undefined) parts.push(`UUID ${contents.uuid}`);
  if (name !== undefined) parts.push(`named ${JSON.stringify(name)}`);
  if (range !== undefined) parts.push(formatBytes(range.lengthBytes));
  return parts.join(', ');
}

function defaultsOf({ volumes }: DiskLayout): readonly Volume[] {
  const withFiles = volumes.filter(({ contents }) => contents?.kind === ContentsKind.Filesystem);
  const proper = withFiles.filter(({ typeId }) => typeId !== EFI_SYSTEM);
  return proper.length > 0 ? proper : withFiles;
}

function matches(wanted: string): (volume: Volume) => boolean {
  const lower = wanted.toLowerCase();
  return ({ number, name, uuid, contents }) =>
    String(number) === wanted ||
    name === wanted ||
    contents?.label === wanted ||
    uuid?.toLowerCase() === lower ||
    contents?.uuid?.toLowerCase() === lower;
}

function refuseOthers({ number, contents }: Volume): void {
  const what = number === undefined ? 'The disk' : `Partition ${number}`;
  if (contents === undefined) {
    throw new EnvironmentError(
      `${what} holds no filesystem that is known here: it may be empty. "snapnbd map" shows where there is data.`,
    );
  }
  if (contents.kind === ContentsKind.Filesystem) return;
  throw new EnvironmentError(
    `${what} is ${ADVICE[contents.type] ?? `${contents.type}, which holds no files`}.`,
  );
}
