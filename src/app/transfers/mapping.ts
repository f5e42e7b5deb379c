import { BLOCK_BYTES } from '../../ebs/constants.js';
import type { DiskMap } from '../../picture/disk-map.js';
import {
  changedRanges,
  RunKind,
  writtenRanges,
  type FoundRange,
  type RangeSource,
} from '../../transfer/found-ranges.js';
import { scanInOrder, scanSample } from '../../transfer/scan.js';
import { scanAll, type OnRange } from '../../transfer/scan-all.js';
import { systemClock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import { connectApi } from '../api-connection.js';
import type { ApiSettings } from '../settings.js';
import { roundedUsd } from './transfer-task.js';

export { createLogWriter } from '../log-writer.js';
export { checkSnapshotId } from '../export-spec.js';
export { watchStopSignals } from '../stop-signals.js';

/** A volume that takes more list calls is looked at in places: ten seconds at the account's quota. */
const LISTS_MAX = 500;
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
 * Fills maps with where the data of a snapshot lies, and what has changed. Volumes that turn out too full to be listed in
 * some ten seconds are looked at in as many places as there are cells, unless `isExact`.
 *
 * @throws {EbsError}, {EnvironmentError}; the signal's reason.
 */
export async function mapSnapshot(
  task: MapTask & { readonly isExact: boolean; readonly makeMaps: MakeMaps },
): Promise<MapFacts> {
  return withSources(task, async ({ written, changed, usage }) => {
    const { blockCount } = written;
    const volume = { blockCount, sizeBytes: blockCount * BLOCK_BYTES, blockBytes: BLOCK_BYTES };
    const sources = changed === undefined ? [written] : [written, changed];
    const callsMax = task.isExact ? Number.POSITIVE_INFINITY : LISTS_MAX;
    let counts = await listed(task, sources, volume, callsMax);
    const isExact = counts !== undefined;
    counts ??= await sampled(task, sources, volume);
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

type DrawTask = MapTask & { readonly makeMaps: MakeMaps };

/** @returns how many blocks there are, of each source; undefined when that takes more than so many calls for one of them. */
async function listed(
  { signal, onProgress, makeMaps }: DrawTask,
  sources: readonly RangeSource[],
  volume: MappedVolume,
  callsMax: number,
): Promise<readonly number[] | undefined> {
  const maps = makeMaps(volume, Number.POSITIVE_INFINITY);
  const counts: number[] = [];
  for (const [index, source] of sources.entries()) {
    let found = 0;
    const onRange: OnRange = (range, scannedBlocks) => {
      found += fill(maps, range, index === 1);
      onProgress((index + scannedBlocks / volume.blockCount) / sources.length);
    };
    if (!(await scanAll(source, signal, onRange, callsMax))) return undefined;
    counts.push(found);
  }
  return counts;
}

/** @returns how many blocks there are in all, of each source, if the places that were looked at are like the others. */
async function sampled(
  { signal, onProgress, makeMaps }: DrawTask,
  sources: readonly RangeSource[],
  volume: MappedVolume,
): Promise<readonly number[]> {
  const { blockCount } = volume;
  const maps = makeMaps(volume, SAMPLE_CELLS_MAX);
  const partCount = Math.max(...maps.map(({ cellCount }) => cellCount));
  const counts: number[] = [];
  for (const [index, source] of sources.entries()) {
    let estimate = 0;
    await scanSample(source, partCount, signal, (range, scannedBlocks) => {
      const found = fill(maps, range, index === 1);
      const looked = range.endBlock - range.firstBlock;
      estimate += looked === 0 ? 0 : (found / looked) * Math.max(looked, blockCount / partCount);
      onProgress((index + scannedBlocks / blockCount) / sources.length);
    });
    counts.push(Math.round(estimate));
  }
  return counts;
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
