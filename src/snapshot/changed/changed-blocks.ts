import { BLOCKS_PER_GIB, LIST_RESULTS_MIN } from '../../ebs/constants.js';
import { EbsOperation } from '../../ebs/errors.js';
import type { ChangedBlock, SnapshotApi } from '../../ebs/snapshot-api.js';
import type { PageSource } from '../page-lister.js';

/** Two snapshots that are compared. */
export interface SnapshotPair {
  /** The older one, as a rule. */
  readonly firstSnapshotId: string;
  /** The one whose blocks are looked at. */
  readonly secondSnapshotId: string;
}

/**
 * The blocks in which the second snapshot differs from the first, on the second one's volume. [ebs: ListChangedBlocks]
 *
 * The service pages over candidates, blocks that either of them has, so that where little has changed thousands of pages
 * come empty.
 *
 * @param secondSizeGib of the second one's volume: of which of the two a page gives the size, nothing says.
 */
export function changedBlocksOf(
  api: SnapshotApi,
  pair: SnapshotPair,
  secondSizeGib: number,
): PageSource<ChangedBlock> {
  const blockCount = secondSizeGib * BLOCKS_PER_GIB;
  return {
    operation: EbsOperation.ListChangedBlocks,
    snapshotId: pair.secondSnapshotId,
    emptyPagesMax: 1000 + Math.ceil(blockCount / LIST_RESULTS_MIN),
    leavesOut: true,
    list: async (position, options) => {
      const page = await api.listChangedBlocks({ ...pair, ...position }, options);
      const { expiryMs, nextToken } = page;
      const blocks = page.blocks.filter(({ blockIndex }) => blockIndex < blockCount);
      // A larger first volume: what lies beyond is none of the second one's.
      const isPastEnd = blocks.length < page.blocks.length;
      return { blocks, expiryMs, volumeSizeGib: secondSizeGib, nextToken: isPastEnd ? undefined : nextToken };
    },
  };
}
