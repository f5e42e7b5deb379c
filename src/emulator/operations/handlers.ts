import { Operation } from '../routes.js';
import { getSnapshotBlock } from './get-snapshot-block.js';
import { listSnapshotBlocks } from './list-snapshot-blocks.js';
import type { OperationHandler } from './operation.js';

/** What answers each operation. */
export const handlers: Readonly<Record<Operation, OperationHandler>> = {
  [Operation.ListSnapshotBlocks]: listSnapshotBlocks,
  [Operation.ListChangedBlocks]: listSnapshotBlocks,
  [Operation.GetSnapshotBlock]: getSnapshotBlock,
  [Operation.StartSnapshot]: listSnapshotBlocks,
  [Operation.PutSnapshotBlock]: listSnapshotBlocks,
  [Operation.CompleteSnapshot]: listSnapshotBlocks,
};
