/** What keeps each filesystem from writing to a disk that cannot be written, a replay of its journal first of all. */
const READ_ONLY_OPTIONS: Readonly<Record<string, string>> = {
  ext3: 'noload',
  ext4: 'noload',
  // The UUID is that of the volume that the snapshot is of, which may be mounted here as well.
  xfs: 'norecovery,nouuid',
  btrfs: 'rescue=nologreplay',
};

/** The options of mount(8) for a filesystem, by its type as `blkid` names it. */
export function mountOptionsOf(type: string, isWritable: boolean): string {
  if (isWritable) return type === 'xfs' ? 'rw,nouuid' : 'rw';
  const further = READ_ONLY_OPTIONS[type];
  return further === undefined ? 'ro' : `ro,${further}`;
}

/** Types that kernels know by another name, the preferred one first, as mount(8) takes them. */
const TYPE_NAMES: Readonly<Record<string, string>> = { ntfs: 'ntfs3,ntfs' };

/** What mount(8) tries in order for a filesystem. */
export function mountTypesOf(type: string): string {
  return TYPE_NAMES[type] ?? type;
}
