import { BLOCK_BYTES } from '../../ebs/constants.js';
import type { DiskMap } from '../../picture/disk-map.js';
import {
  changedRanges,
  RunKind,
  writtenRanges,
  type FoundRange,
  type RangeSource,
} from '../../transfer/found-ranges.js';
import { scanAll, scanInOrder, scanSample } from '../../transfer/scan.js';
import { systemClock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { connectApi } from '../api-connection.js';
import type { ApiSettings } from '../settings.js';
import { roundedUsd } from './transfer-task.js';

export { createLogWriter } from '../log-writer.js';
export { checkSnapshotId } from '../export-spec.js';
export { watchStopSignals } from '../stop-signals.js';

/** A volume of which fewer list calls could not tell everything is looked at in places, unless that finds little. */
const LISTS_MAX = 500;
const RESULTS_PER_LIST = 10_000;
/** Places that are looked at, by a call each: a minute and a half at the account's quota. */
const SAMPLE_CELLS_MAX = 4096;

/** What `snapnbd map` looks at. */
export interface MapTask {
  readonly snapshotId: string;
  /** Show also what has changed since this snapshot. Default: no. */
  readonly againstSnapshotId?: string | undefined;
  readonly api: ApiSettings;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Gets the part of the volume that was looked at, from 0 to 1. */
  readonly onProgress: (scannedFraction: number) => void;
}

/** What is known of a disk when its size is. */
export interface MappedVolume {
  readonly blockCount: number;
  readonly sizeBytes: number;
  readonly blockBytes: number;
}

/** What a picture is of. */
export interface MapFacts extends MappedVolume {
  /** Blocks that were ever written; of a sample, about. */
  readonly dataBlocks: number;
  /** Undefined where nothing is compared. */
  readonly changedBlocks: number | undefined;
  /** Whether all of it was looked at. */
  readonly isExact: boolean;
  readonly listCallCount: number;
  readonly costUsd: number;
}

/** The maps that are filled, once the size of the volume is known. May be called twice; the last ones count. */
export type MakeMaps = (volume: MappedVolume, cellsMax: number) => readonly DiskMap[];

/**
 * Fills maps with where the data of a snapshot lies, and what has changed. Volumes that are too full to be listed in some
 * ten seconds are looked at in as many places as there are cells, unless `isExact`.
 *
 * @throws {EbsError}, {EnvironmentError}; the signal's reason.
 */
export async function mapSnapshot(
  task: MapTask & { readonly isExact: boolean; readonly makeMaps: MakeMaps },
): Promise<MapFacts> {
  const { onProgress, signal, makeMaps } = task;
  return withSources(task, async ({ written, changed, usage }) => {
    const { blockCount } = written;
    const volume = { blockCount, sizeBytes: blockCount * BLOCK_BYTES, blockBytes: BLOCK_BYTES };
    const sources = changed === undefined ? [written] : [written, changed];
    const isSmall = task.isExact || blockCount <= LISTS_MAX * RESULTS_PER_LIST;
    let maps = makeMaps(volume, isSmall ? Number.POSITIVE_INFINITY : SAMPLE_CELLS_MAX);
    let counts = sources.map(() => 0);
    let isExact = isSmall;
    if (!isSmall) {
      counts = [];
      for (const source of sources)
        counts.push(await sampled(source, maps, { ...task, isComparison: source === changed }));
      isExact = Math.max(...counts) <= LISTS_MAX * RESULTS_PER_LIST;
      if (isExact) maps = makeMaps(volume, Number.POSITIVE_INFINITY);
    }
    if (isExact) {
      counts = [];
      for (const [index, source] of sources.entries()) {
        let found = 0;
        await scanAll(source, signal, (range, scannedBlocks) => {
          found += fill(maps, range, index === 1);
          onProgress((index + scannedBlocks / blockCount) / sources.length);
        });
        counts.push(found);
      }
    }
    return { ...volume, dataBlocks: counts[0] ?? 0, changedBlocks: counts[1], isExact, ...usage() };
  });
}

/** What is written of each range of a listing, in the order of the disk. */
export interface RangeWriter {
  begin(volume: MappedVolume): Promise<void>;
  /** @param isComparison what has changed, rather than what was written; the latter come first. */
  range(range: FoundRange, isComparison: boolean): Promise<void>;
  end(usage: { readonly listCallCount: number; readonly costUsd: number }): Promise<void>;
}

/** Gives all ranges, one after the other: memory does not depend on how many there are. */
export async function writeRanges(task: MapTask, writer: RangeWriter): Promise<void> {
  const { signal, onProgress } = task;
  await withSources(task, async ({ written, changed, usage }) => {
    const { blockCount } = written;
    await writer.begin({ blockCount, sizeBytes: blockCount * BLOCK_BYTES, blockBytes: BLOCK_BYTES });
    const sources = changed === undefined ? [written] : [written, changed];
    for (const [index, source] of sources.entries()) {
      for await (const range of scanInOrder(source, signal)) {
        await writer.range(range, index === 1);
        onProgress((index + range.endBlock / blockCount) / sources.length);
      }
    }
    await writer.end(usage());
  });
}

interface Sources {
  readonly written: RangeSource;
  readonly changed: RangeSource | undefined;
  readonly usage: () => { readonly listCallCount: number; readonly costUsd: number };
}

async function withSources<T>(task: MapTask, run: (sources: Sources) => Promise<T>): Promise<T> {
  const { snapshotId, againstSnapshotId, api: settings, logger, signal } = task;
  const connection = await connectApi(settings, { logger, clock: systemClock });
  try {
    const { api } = connection;
    const written = await writtenRanges(api, snapshotId, signal);
    const changed =
      againstSnapshotId === undefined
        ? undefined
        : changedRanges(
            api,
            { firstSnapshotId: againstSnapshotId, secondSnapshotId: snapshotId },
            written.blockCount,
          );
    return await run({
      ...{ written, changed },
      usage: () => {
        const { calls, usd } = connection.usage();
        return {
          listCallCount: calls.ListSnapshotBlocks + calls.ListChangedBlocks,
          costUsd: roundedUsd(usd),
        };
      },
    });
  } finally {
    await connection.close();
  }
}

/** @returns how many blocks there are in all, if the places that were looked at are like the others. */
async function sampled(
  source: RangeSource,
  maps: readonly DiskMap[],
  {
    signal,
    onProgress,
    isComparison,
  }: Pick<MapTask, 'signal' | 'onProgress'> & { readonly isComparison: boolean },
): Promise<number> {
  const partCount = Math.max(...maps.map(({ cellCount }) => cellCount));
  const { blockCount } = source;
  let estimate = 0;
  await scanSample(source, partCount, signal, (range, scannedBlocks) => {
    const found = fill(maps, range, isComparison);
    const looked = range.endBlock - range.firstBlock;
    estimate += looked === 0 ? 0 : (found / looked) * Math.max(looked, blockCount / partCount);
    onProgress(scannedBlocks / blockCount);
  });
  return Math.round(estimate);
}

/** @returns how many blocks are in the runs. */
function fill(
  maps: readonly DiskMap[],
  { firstBlock, endBlock, runs }: FoundRange,
  isComparison: boolean,
): number {
  for (const map of maps) {
    map.look(isComparison ? 'changed' : 'data', firstBlock, endBlock);
    if (isComparison) map.look('zeroed', firstBlock, endBlock);
    for (const run of runs) {
      map.add(isComparison ? 'changed' : 'data', run.firstBlock, run.endBlock);
      if (run.kind === RunKind.Zeroed) map.add('zeroed', run.firstBlock, run.endBlock);
    }
  }
  return runs.reduce((sum, run) => sum + run.endBlock - run.firstBlock, 0);
}
