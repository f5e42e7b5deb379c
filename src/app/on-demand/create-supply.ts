import { assert } from '../../util/assert.js';
import type { ApiConnection } from '../api-connection.js';
import { openExports, type OpeningContext } from '../export-opening.js';
import type { OnDemandSettings } from '../settings.js';
import { parseAllowRule } from './allow-rules.js';
import { OnDemandExports } from './on-demand-exports.js';
import { SnapshotCatalog } from './snapshot-catalog.js';

/** Each holds its listing's pages and its read-ahead; more than one person or one job looks at. */
export const DEFAULT_ON_DEMAND_MAX = 64;

/** Longer than a pause within one job, short enough that a day of looking around leaves nothing open. */
export const DEFAULT_ON_DEMAND_IDLE_MS = 300_000;

/** Snapshots on demand, opened as the other exports of the server are. */
export function createSupply(
  { allow = [], openMax = DEFAULT_ON_DEMAND_MAX, idleMs = DEFAULT_ON_DEMAND_IDLE_MS }: OnDemandSettings,
  context: OpeningContext & { readonly connection: ApiConnection },
): OnDemandExports {
  const { connection, logger, clock } = context;
  const rules = allow.length === 0 ? [parseAllowRule('*')] : allow;
  const catalog = new SnapshotCatalog({ open: () => connection.openEc2(), rules, logger, clock });
  return new OnDemandExports({
    open: async (name, source, signal) => {
      const [opened] = await openExports([{ name, source }], { ...context, signal });
      assert(opened !== undefined, 'one spec makes one export');
      return opened;
    },
    catalog,
    rules,
    openMax,
    idleMs,
    logger,
    clock,
  });
}
