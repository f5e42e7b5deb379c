import type { Command } from 'commander';
import { Option } from 'commander';
import type { ReadingSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { formatBytes, MIB, parseSizeBytes } from '../util/units.js';

/** The options that say what is kept of blocks, and what is fetched before it is asked for. */
export interface CacheOptions {
  readonly cacheMemory?: number;
  readonly cacheDir?: string;
  readonly cacheSize?: number;
  readonly hydrate?: boolean;
  readonly readAhead: 'on' | 'off';
  readonly lineage: 'on' | 'off';
}

/** Smaller, and what the disk cache evicts at once would be too large a part of it. */
const CACHE_SIZE_MIN = 32 * MIB;

/** Adds the options to a command that reads snapshots. */
export function addCacheOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--cache-memory <SIZE>', 'memory for blocks that were read (default: 256MiB)').argParser(
        parseSizeBytes,
      ),
    )
    .option('--cache-dir <DIR>', 'keep blocks on disk in this folder as well, for the next start')
    .addOption(
      new Option('--cache-size <SIZE>', 'bound on what is kept on disk (default: 20GiB)').argParser(
        parseSizeBytes,
      ),
    )
    .option('--hydrate', 'bring the whole snapshots into the disk cache in the background')
    .addOption(
      new Option('--read-ahead <MODE>', 'fetch what sequential readers will want before they ask')
        .choices(['on', 'off'])
        .default('on'),
    )
    .addOption(
      new Option('--lineage <MODE>', 'fetch blocks that several snapshots share once for all of them')
        .choices(['on', 'off'])
        .default('on'),
    );
}

/**
 * The settings that the options stand for.
 *
 * @throws {UsageError} for options that mean nothing without others, or a disk cache that is too small.
 */
export function readingSettingsOf(options: CacheOptions): ReadingSettings {
  const { cacheMemory, cacheDir, cacheSize, hydrate = false } = options;
  if (cacheDir === undefined && cacheSize !== undefined) {
    throw new UsageError('Cannot use --cache-size alone: say where to keep the blocks with --cache-dir DIR.');
  }
  if (cacheDir === undefined && hydrate) {
    throw new UsageError('Cannot use --hydrate alone: say where to keep the blocks with --cache-dir DIR.');
  }
  if (cacheDir === '') throw new UsageError('Cannot use "" as --cache-dir: name a folder.');
  if (cacheSize !== undefined && cacheSize < CACHE_SIZE_MIN) {
    throw new UsageError(
      `Cannot use ${formatBytes(cacheSize)} as --cache-size: it has to be at least ${formatBytes(CACHE_SIZE_MIN)}.`,
    );
  }
  const diskBytesMax = cacheSize === undefined ? {} : { bytesMax: cacheSize };
  return {
    ...(cacheMemory === undefined ? {} : { cacheMemoryBytes: cacheMemory }),
    ...(cacheDir === undefined ? {} : { disk: { dir: cacheDir, hydrates: hydrate, ...diskBytesMax } }),
    readsAhead: options.readAhead === 'on',
    sharesLineage: options.lineage === 'on',
  };
}
