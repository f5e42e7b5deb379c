import type { SnapshotApi } from '../ebs/snapshot-api.js';
import { summarizeSnapshot } from '../snapshot/snapshot-listing.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';

/**
 * Counts the blocks that a snapshot lists, beside whatever else is done with it: for people, who want to know how long it
 * takes. It is one more list call for each 10,000 blocks.
 *
 * @returns gives the number, once it is known.
 */
export function countListed(
  api: SnapshotApi,
  snapshotId: string,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): () => number | undefined {
  let listedBlocks: number | undefined;
  summarizeSnapshot({ api, snapshotId, signal }).then(
    (summary) => {
      listedBlocks = summary.listedBlocks;
    },
    (error: unknown) => logger.debug('cannot count the blocks of a snapshot', { error: messageOf(error) }),
  );
  return () => listedBlocks;
}
