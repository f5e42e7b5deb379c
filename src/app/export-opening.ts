import type { BlockDevice } from '../device/block-device.js';
import { MemoryDevice } from '../device/memory-device.js';
import type { BlockCache } from '../snapshot/block-cache.js';
import { openSnapshotDevice } from '../snapshot/snapshot-device.js';
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
  const failure = new AbortController();
  const signal =
    context.signal === undefined ? failure.signal : AbortSignal.any([context.signal, failure.signal]);
  const outcomes = await Promise.allSettled(
    specs.map((spec) =>
      limiter
        .run(() => openExport(spec, { ...context, signal }), undefined, signal)
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

async function openExport(spec: ExportSpec, context: OpeningContext): Promise<RegisteredExport> {
  const { name, source } = spec;
  if (source.kind === 'fork' || source.kind === 'blank') {
    const { connection } = context;
    assert(connection !== undefined, 'a fork is opened through a connection to EBS');
    const { openForkExport } = await import('./fork-export.js');
    return openForkExport(name, source, { ...context, connection, forks: context.forks ?? {} });
  }
  return { name, device: await openDevice(name, source, context) };
}

async function openDevice(
  name: string,
  source: Exclude<ExportSource, ForkSource>,
  context: OpeningContext,
): Promise<BlockDevice> {
  if (source.kind === 'memory') return new MemoryDevice(source.sizeBytes);
  const { connection, cache, clock, signal } = context;
  assert(connection !== undefined, 'a snapshot is opened through a connection to EBS');
  return openSnapshotDevice({
    api: connection.api,
    limiter: connection.limiter,
    snapshotId: source.snapshotId,
    cache,
    logger: context.logger.child({ export: name }),
    clock,
    ...(signal === undefined ? {} : { signal }),
  });
}
