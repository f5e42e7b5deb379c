import { DiskCache } from '../snapshot/disk/disk-cache.js';
import type { DiskStore } from '../snapshot/snapshot-device.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { serviceIdentityOf } from './service-identity.js';
import { DEFAULT_DISK_CACHE_BYTES, type ServeSettings } from './settings.js';

/**
 * Opens the disk cache that the settings name.
 *
 * @returns undefined when they name none, or nothing is read from a service.
 * @throws {EnvironmentError} in one line when its folder cannot be used.
 */
export async function openDiskStore(
  { disk, api = {}, exports, onDemand }: ServeSettings,
  { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
): Promise<DiskStore | undefined> {
  const readsSnapshots = onDemand !== undefined || exports.some(({ source }) => source.kind !== 'memory');
  if (disk === undefined || !readsSnapshots) return undefined;
  const { dir, bytesMax = DEFAULT_DISK_CACHE_BYTES } = disk;
  const cache = await DiskCache.open({ dir, bytesMax, logger, clock });
  return { cache, service: serviceIdentityOf(api, process.env) };
}
