/** What a volume is for, which decides what can be done with it. */
export const ContentsKind = {
  /** It can be mounted. */
  Filesystem: 'filesystem',
  /** It is a part of something that other volumes may belong to: LVM, RAID. */
  Member: 'member',
  /** It needs a key first. */
  Encrypted: 'encrypted',
  /** Swap space, a journal: no files. */
  Other: 'other',
} as const;
export type ContentsKind = (typeof ContentsKind)[keyof typeof ContentsKind];

/** What a volume holds, by its signature. Types are named as `blkid` names them. */
export interface VolumeContents {
  readonly type: string;
  readonly kind: ContentsKind;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
}

/** The beginning of a volume: as much as all signatures there need, or less where the volume is smaller. */
export type VolumeHead = Buffer;

/** Looks for one family of signatures. @returns undefined where there is none. */
export type Probe = (head: VolumeHead) => VolumeContents | undefined;

/** True when `magic` stands at `offset`. */
export function hasMagic(head: Buffer, offset: number, magic: string | Buffer): boolean {
  const bytes = typeof magic === 'string' ? Buffer.from(magic, 'latin1') : magic;
  return offset + bytes.length <= head.length && head.subarray(offset, offset + bytes.length).equals(bytes);
}
