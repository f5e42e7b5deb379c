import type { ByteRange } from '../volume-reader.js';

/** How a disk is divided. */
export const TableType = { Gpt: 'gpt', Mbr: 'mbr', None: 'none' } as const;
export type TableType = (typeof TableType)[keyof typeof TableType];

/** One partition. */
export interface Partition {
  /** As Linux counts: from 1; logical partitions of an MBR from 5. */
  readonly number: number;
  readonly range: ByteRange;
  /** The name in a GPT. */
  readonly name: string | undefined;
  /** `PARTUUID`, in lower case. */
  readonly uuid: string | undefined;
  /** The type: a GUID in lower case, or `0x83`. */
  readonly typeId: string;
}
