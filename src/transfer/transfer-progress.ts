import { CompletionStep } from '../writer/completion.js';

/** What a transfer is doing. */
export const TransferStep = {
  /** A stream of unknown length is being kept on disk, until its length is known. */
  Spool: 'spool',
  Move: 'move',
  /** What is there is brought to the disk, or into another format. */
  Finish: 'finish',
  ...CompletionStep,
} as const;
export type TransferStep = (typeof TransferStep)[keyof typeof TransferStep];

/** How far a transfer has come. */
export interface TransferProgress {
  readonly step: TransferStep;
  /** What is moved, or made. */
  readonly snapshotId: string | undefined;
  /** Blocks that are settled: moved by this run or an earlier one, or found to need no moving. */
  readonly doneCount: number;
  /** Blocks that there are to settle, as far as that is known; an estimate where an image has holes. */
  readonly totalCount: number | undefined;
  /** Blocks that this run moved. */
  readonly movedCount: number;
}

/** Gets reports, each as soon as there is something new. */
export type OnProgress = (progress: TransferProgress) => void;

/** What a transfer has come to. */
export interface TransferCounts {
  /** Blocks that this run moved over the network to their destination. */
  movedCount: number;
  /** Blocks that an earlier run had moved, which were compared and left alone. */
  keptCount: number;
  /** Blocks that were looked at and needed no moving: the same in the parent, or zeros over nothing. */
  skippedCount: number;
}
