import type { BlockDevice } from '../device/block-device.js';
import { MemoryDevice } from '../device/memory-device.js';
import { ExportTraffic } from '../nbd/traffic.js';
import type { BlockCache } from '../snapshot/block-cache.js';
import type { Lineage } from '../snapshot/lineage/lineage.js';
import type { Profiles } from '../snapshot/profile/profiles.js';
import { openSnapshotDevice, type DiskStore, type SnapshotDevice } from '../snapshot/snapshot-device.js';
import { assert } from '../util/assert.js';
import type { Clock } from '../util/clock.js';
import { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import type { ApiConnection } from './api-connection.js';
import type { RegisteredExport } from './export-registry.js';
import type { ExportSource, ExportSpec, ForkSource } from './export-spec.js';
import type { ForkSettings } from './settings.js';

/** Each opening costs one List call, of which an account has 50/s. */
const OPENINGS_AT_ONCE_MAX = 16;

/** What the exports of one server share. */
export interface OpeningContext {
  /** Absent where no export comes from a snapshot. */
  readonly connection: ApiConnection | undefined;
  readonly cache: BlockCache;
  /** Default: none. */
  readonly disk?: DiskStore | undefined;
  /** Default: none. */
  readonly lineage?: Lineage | undefined;
  /** Default: none. */
  readonly profiles?: Profiles | undefined;
  /** Default: true. */
  readonly readsAhead?: boolean | undefined;
  /** See `compareSnapshot`. Default: false. */
  readonly hasOneBitmap?: boolean | undefined;
  /** See `openSnapshotDevice`. Default: 1. */
  readonly sharerCount?: number | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  /** Default: see there. */
  readonly forks?: ForkSettings;
}

/**
 * Opens all exports, several at once; in the end all are open, or none.
 *
 * @throws what the first one threw that could not be opened.
 */
export async function openExports(
  specs: readonly ExportSpec[],
  context: OpeningContext,
): Promise<readonly RegisteredExport[]> {
  const limiter = new Limiter(OPENINGS_AT_ONCE_MAX);
  const snapshots: OpenSnapshots = new Map();
  const failure = new AbortController();
  const signal =
    context.signal === undefined ? failure.signal : AbortSignal.any([context.signal, failure.signal]);
  const outcomes = await Promise.allSettled(
    specs.map((spec) =>
      limiter
        .run(
          () => openExport(spec, { ...context, sharerCount: specs.length, signal }, snapshots),
          undefined,
          signal,
        )
        .catch((error: unknown) => {
          failure.abort(error);
          throw error;
        }),
    ),
  );
  const opened = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  if (opened.length < specs.length) {
    for (const { device } of opened) await device.close?.();
    throw signal.reason;
  }
  return opened;
}

/** By their ids. A snapshot never changes: under whatever names it is served, it is one device. */
type OpenSnapshots = Map<string, Promise<SnapshotDevice>>;

async function openExport(
  spec: ExportSpec,
  context: OpeningContext,
  snapshots: OpenSnapshots,
): Promise<RegisteredExport> {
  const startMs = context.clock.nowMs();
  const entry = await openEntry(spec, context, snapshots);
  context.logger.info('an export is open', {
    export: spec.name,
    disk: entry.device.description,
    sizeBytes: entry.device.sizeBytes,
    durationMs: Math.round(context.clock.nowMs() - startMs),
  });
  return { ...entry, traffic: new ExportTraffic() };
}

async function openEntry(
  spec: ExportSpec,
  context: OpeningContext,
  snapshots: OpenSnapshots,
): Promise<RegisteredExport> {
  const { name, source } = spec;
  if (source.kind === 'fork' || source.kind === 'blank') {
    const { connection } = context;
    assert(connection !== undefined, 'a fork is opened through a connection to EBS');
    const { openForkExport } = await import('./fork-export.js');
    return openForkExport(name, source, { ...context, connection, forks: context.forks ?? {} });
  }
  return { name, device: await openDevice(source, context, snapshots) };
}

async function openDevice(
  source: Exclude<ExportSource, ForkSource>,
  context: OpeningContext,
  snapshots: OpenSnapshots,
): Promise<BlockDevice> {
  if (source.kind === 'memory') return new MemoryDevice(source.sizeBytes);
  const { snapshotId, since } = source;
  const opening = snapshots.get(snapshotId) ?? openSnapshot(snapshotId, context);
  snapshots.set(snapshotId, opening);
  const device = await opening;
  if (since === undefined) return device;
  const { connection, hasOneBitmap = false, logger, clock, signal } = context;
  assert(connection !== undefined, 'snapshots are compared through a connection to EBS');
  try {
    const { compareSnapshot } = await import('../snapshot/changed/compared-snapshot.js');
    return await compareSnapshot(device, {
      api: connection.api,
      snapshotId,
      since,
      hasOneBitmap,
      logger,
      clock,
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    device.close();
    throw error;
  }
}

function openSnapshot(snapshotId: string, context: OpeningContext): Promise<SnapshotDevice> {
  const { connection, cache, disk, lineage, profiles, readsAhead = true, logger, clock, signal } = context;
  const { sharerCount } = context;
  assert(connection !== undefined, 'a snapshot is opened through a connection to EBS');
  return openSnapshotDevice({
    api: connection.api,
    limiter: connection.limiter,
    snapshotId,
    cache,
    lineage,
    profiles,
    readsAhead,
    sharerCount,
    logger,
    clock,
    ...(disk === undefined ? {} : { disk }),
    ...(signal === undefined ? {} : { signal }),
  });
}
