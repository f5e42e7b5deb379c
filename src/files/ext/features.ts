/** Features that a reader has to know (`s_feature_incompat`), as fs/ext4/ext4.h of Linux names them. */
export const Incompat = {
  Filetype: 0x2,
  Recover: 0x4,
  JournalDevice: 0x8,
  MetaBg: 0x10,
  Extents: 0x40,
  Is64Bit: 0x80,
  Mmp: 0x100,
  FlexBg: 0x200,
  EaInode: 0x400,
  ChecksumSeed: 0x2000,
  LargeDirectory: 0x4000,
  InlineData: 0x8000,
  Encrypt: 0x10000,
  Casefold: 0x20000,
} as const;

/** Together: the rest (compression, data in directory entries, what is not invented yet) is refused. */
export const INCOMPAT_KNOWN = Object.values(Incompat).reduce((all, bit) => all | bit, 0);

/** Features that only a writer has to know (`s_feature_ro_compat`); those that change how something is read. */
export const RoCompat = {
  SparseSuper: 0x1,
  LargeFile: 0x2,
  BtreeDirectory: 0x4,
  HugeFile: 0x8,
  MetadataChecksum: 0x400,
} as const;

/** `s_feature_compat`. */
export const Compat = { HasJournal: 0x4, SparseSuper2: 0x200 } as const;

/** Flags of inodes (`i_flags`). */
export const InodeFlag = {
  Compressed: 0x4,
  Encrypted: 0x800,
  HugeFile: 0x40000,
  Extents: 0x80000,
  EaInode: 0x200000,
  InlineData: 0x10000000,
} as const;
