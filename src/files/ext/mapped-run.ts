/** Blocks of a file that follow one another on the disk. What lies between two runs is a hole. */
export interface MappedRun {
  /** In the file. */
  readonly fileBlock: number;
  /** In the filesystem. Undefined where blocks are allocated and not written yet: they read as zeros. */
  readonly diskBlock: number | undefined;
  /** At least 1. */
  readonly count: number;
}

/** Which blocks of a file are asked about. */
export interface BlockSpan {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}
