import { EbsError } from '../ebs/errors.js';
import type { SnapshotDevice } from '../snapshot/snapshot-device.js';
import type { Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';

/** What hydration needs. */
export interface HydratingOptions {
  /** One after the other, in this order. */
  readonly devices: readonly SnapshotDevice[];
  /** Blocks that the disk cache holds. */
  readonly blocksMax: number;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Ends it; the devices are closed then. */
  readonly signal: AbortSignal;
}

/** After a failure that may pass, such as a network that is away, it goes on after so long. */
const PAUSE_MS = 60_000;

/** Brings whole snapshots into the disk cache in the background. Says in the log how it went. Never rejects. */
export async function hydrateAll({ devices, blocksMax, ...rest }: HydratingOptions): Promise<void> {
  let leftBlocks = blocksMax;
  for (const device of devices) {
    const blocks = await hydrateOne(device, leftBlocks, rest);
    if (blocks === undefined) return;
    leftBlocks -= blocks;
  }
}

/** @returns how many blocks of it are on disk; undefined when there is no use in going on. */
async function hydrateOne(
  device: SnapshotDevice,
  blocksMax: number,
  { logger, clock, signal }: Omit<HydratingOptions, 'devices' | 'blocksMax'>,
): Promise<number | undefined> {
  const subject = { disk: device.description };
  const hasEnded = (): boolean => signal.aborted;
  while (!hasEnded()) {
    try {
      const { blocks, fetched, isWhole } = await device.hydrate(blocksMax, signal);
      if (isWhole) {
        logger.info('the whole snapshot is in the disk cache', { ...subject, blocks, fetched });
        return blocks;
      }
      logger.warn(
        'the disk cache is too small for all that is to be hydrated: the rest is fetched on demand',
        {
          ...subject,
          blocks,
        },
      );
      return undefined;
    } catch (error) {
      if (hasEnded()) return undefined;
      const mayPass = error instanceof EbsError && error.retryable;
      logger.warn('cannot hydrate the snapshot', { ...subject, error: messageOf(error), goesOn: mayPass });
      if (!mayPass) return 0;
      await clock.sleep(PAUSE_MS, signal).catch(() => undefined); // ended by the signal, which the loop looks at
    }
  }
  return undefined;
}
