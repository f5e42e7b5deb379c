import type { SnapshotApi } from '../ebs/snapshot-api.js';
import type { Clock } from '../util/clock.js';
import type { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import type { CommitWishes } from '../writer/fork-facts.js';
import type { PutPacer } from '../writer/put-pacer.js';
import type { BlockSupply, SupplyItem } from './block-supply.js';
import type { DigestJournal } from './digest-journal.js';
import type { ListedBlocks } from './listed-blocks.js';
import type { OnProgress } from './transfer-progress.js';

/** What a disk is made a snapshot with. */
export interface PutOptions<Item extends SupplyItem> {
  readonly supply: BlockSupply<Item>;
  readonly journal: DigestJournal;
  /** Retrying. */
  readonly api: SnapshotApi;
  readonly clock: Clock;
  readonly logger: Logger;
  /** All puts go through both. */
  readonly limiter: Limiter;
  readonly pacer: PutPacer;
  /** Puts at once, at most. */
  readonly inFlightMax: number;
  readonly volumeSizeGib: number;
  readonly wishes: CommitWishes;
  /** Only blocks that differ from it are put. Default: none. */
  readonly parent?: ListedBlocks | undefined;
  readonly onProgress: OnProgress;
}
