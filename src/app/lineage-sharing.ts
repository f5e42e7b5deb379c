import type { BlockCache } from '../snapshot/block-cache.js';
import type { DiskStore } from '../snapshot/disk/disk-cache.js';
import { Lineage } from '../snapshot/lineage/lineage.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import type { ApiConnection } from './api-connection.js';
import type { ServeSettings } from './settings.js';

/** What snapshots of one lineage share. */
export interface LineageParts {
  /** Absent where no export comes from a snapshot. */
  readonly connection: ApiConnection | undefined;
  readonly cache: BlockCache;
  readonly disk: DiskStore | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Lets the snapshots of a server share the blocks that did not change between them.
 *
 * @returns undefined when the settings say that they are not to, or there are none.
 */
export function createLineage(
  { sharesLineage = true, api = {}, exports }: ServeSettings,
  { connection, cache, disk, clock, logger }: LineageParts,
): Lineage | undefined {
  if (!sharesLineage || connection === undefined) return undefined;
  const lineage = new Lineage({ api: connection.api, cache, disk, prices: api.prices, clock, logger });
  // They are opened several at once, in any order; whoever names them usually does it in the order of time.
  lineage.reserve(exports.flatMap(({ source }) => ('snapshotId' in source ? [source.snapshotId] : [])));
  return lineage;
}
