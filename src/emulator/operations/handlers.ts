import { Operation } from '../routes.js';
import { completeSnapshot } from './complete-snapshot.js';
import { getSnapshotBlock } from './get-snapshot-block.js';
import { listChangedBlocks } from './list-changed-blocks.js';
import { listSnapshotBlocks } from './list-snapshot-blocks.js';
import type { OperationHandler } from './operation.js';
import { putSnapshotBlock } from './put-snapshot-block.js';
import { startSnapshot } from './start-snapshot.js';

/** What answers each operation. */
export const handlers: Readonly<Record<Operation, OperationHandler>> = {
  [Operation.ListSnapshotBlocks]: listSnapshotBlocks,
  [Operation.ListChangedBlocks]: listChangedBlocks,
  [Operation.GetSnapshotBlock]: getSnapshotBlock,
  [Operation.StartSnapshot]: startSnapshot,
  [Operation.PutSnapshotBlock]: putSnapshotBlock,
  [Operation.CompleteSnapshot]: completeSnapshot,
};
