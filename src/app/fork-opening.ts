import type { BlockDevice } from '../device/block-device.js';
import type { BlockCache } from '../snapshot/block-cache.js';
import type { Lineage } from '../snapshot/lineage/lineage.js';
import type { Profiles } from '../snapshot/profile/profiles.js';
import { openSnapshotDevice, type DiskStore } from '../snapshot/snapshot-device.js';
import type { Clock } from '../util/clock.js';
import { SnapnbdError, systemCodeOf, UsageError } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { formatBytes } from '../util/units.js';
import { MemoryDevice } from '../device/memory-device.js';
import { DiskFolder } from '../writer/disk-folder.js';
import { Fork, type ForkOptions } from '../writer/fork.js';
import { JOURNAL_VERSION, type ForkOrigin } from '../writer/fork-facts.js';
import { defaultStateDir, ForkFolders } from '../writer/fork-folders.js';
import { ForkLock } from '../writer/fork-lock.js';
import type { ForkState } from '../writer/fork-state.js';
import type { ApiConnection } from './api-connection.js';
import { keepingError } from './fork-keeping-error.js';
import type { ForkSource } from './export-spec.js';
import type { ForkSettings } from './settings.js';

/** What forks are opened with. */
export interface ForkContext {
  readonly connection: ApiConnection;
  readonly cache: BlockCache;
  readonly disk?: DiskStore | undefined;
  /** Default: none. */
  readonly lineage?: Lineage | undefined;
  /** Default: none. */
  readonly profiles?: Profiles | undefined;
  /** See `openSnapshotDevice`. Default: 1. */
  readonly sharerCount?: number | undefined;
  readonly readsAhead?: boolean | undefined;
  /** See `ForkChanges`. Default: false. */
  readonly hasOneBitmap?: boolean | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly forks: ForkSettings;
  /** Gives up opening. */
  readonly signal?: AbortSignal | undefined;
}

/** A fork that this process owns. */
export interface OwnedFork {
  readonly fork: Fork;
  /** Its folder. */
  readonly path: string;
  /** Closes it, and lets others have it. */
  close(): Promise<void>;
  /** The same; if it was made just now, it is removed as well. */
  undo(): Promise<void>;
}

/** The folders of the forks, by the settings. */
export function forkFoldersOf(settings: ForkSettings): ForkFolders {
  return new ForkFolders(settings.stateDir ?? defaultStateDir(process.env));
}

/**
 * Opens the fork of this name, or makes it.
 *
 * @param source what it is to be; absent: whatever there is.
 * @param purpose what this process does, which others are told.
 * @throws {UsageError} when there is none, or another one under that name; {EnvironmentError} when another process has it.
 */
export async function openFork(
  name: string,
  source: ForkSource | undefined,
  purpose: string,
  context: ForkContext & { readonly putsQuietBlocks?: boolean },
): Promise<OwnedFork> {
  try {
    return await openLocked(name, source, purpose, context);
  } catch (error) {
    // Of the system: a full disk, a folder that may not be written.
    if (error instanceof SnapnbdError || systemCodeOf(error) === undefined) throw error;
    const path = forkFoldersOf(context.forks).pathOf(name);
    throw keepingError(name, path, error);
  }
}

async function openLocked(
  name: string,
  source: ForkSource | undefined,
  purpose: string,
  context: ForkContext & { readonly putsQuietBlocks?: boolean },
): Promise<OwnedFork> {
  const folders = forkFoldersOf(context.forks);
  const path = source === undefined ? await folders.require(name) : await folders.make(name);
  const lock = await ForkLock.take(path, purpose, `the fork "${name}"`);
  try {
    const options = optionsOf(name, path, context);
    const isThere = await folders.has(name);
    const removeIfMade = async (): Promise<void> => {
      if (!isThere && source !== undefined) await folders.remove(name);
    };
    try {
      const fork =
        isThere || source === undefined
          ? await Fork.open(options)
          : await create(name, source, options, context);
      if (source !== undefined) await checkedSource(name, source, fork);
      const close = async (beforeOthers?: () => Promise<void>): Promise<void> => {
        try {
          await fork.close();
          await beforeOthers?.();
        } finally {
          await lock.release();
        }
      };
      return { fork, path, close: () => close(), undo: () => close(removeIfMade) };
    } catch (error) {
      await removeIfMade();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function optionsOf(
  name: string,
  path: string,
  context: ForkContext & { readonly putsQuietBlocks?: boolean },
): ForkOptions {
  const { connection, forks, clock } = context;
  return {
    folder: new DiskFolder(path),
    clock,
    api: connection.api,
    putLimiter: connection.putLimiter,
    logger: context.logger.child({ fork: name }),
    openBase: (snapshotId) => openBase(snapshotId, name, context),
    putsPerSecond: forks.putsPerSecond,
    durability: forks.durability,
    stageLimitBytes: forks.stageLimitBytes,
    putsQuietBlocks: context.putsQuietBlocks ?? false,
    wishes: forks.wishes,
  };
}

function openBase(snapshotId: string, name: string, context: ForkContext): Promise<BlockDevice> {
  const { connection, cache, disk, lineage, profiles, readsAhead = true, clock, logger, signal } = context;
  return openSnapshotDevice({
    api: connection.api,
    limiter: connection.limiter,
    snapshotId,
    cache,
    lineage,
    profiles,
    readsAhead,
    sharerCount: context.sharerCount,
    logger: logger.child({ fork: name }),
    clock,
    ...(disk === undefined ? {} : { disk }),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function create(
  name: string,
  source: ForkSource,
  options: ForkOptions,
  context: ForkContext,
): Promise<Fork> {
  const base: BlockDevice =
    source.kind === 'blank'
      ? new MemoryDevice(source.sizeBytes)
      : await openBase(source.snapshotId, name, context);
  const encryption = context.forks.wishes?.encryption ?? null;
  const origin: ForkOrigin = {
    version: JOURNAL_VERSION,
    name,
    sizeBytes: base.sizeBytes,
    originSnapshotId: source.kind === 'blank' ? null : source.snapshotId,
    createdMs: context.clock.dateMs(),
    encrypted: source.kind === 'blank' && encryption !== null,
    kmsKeyArn: encryption?.kmsKeyArn ?? null,
  };
  try {
    return await Fork.create(options, origin, base);
  } catch (error) {
    await base.close?.();
    throw error;
  }
}

async function checkedSource(name: string, source: ForkSource, fork: Fork): Promise<void> {
  try {
    checkSource(name, source, fork.store.state);
  } catch (error) {
    await fork.close();
    throw error;
  }
}

/** A name stands for one disk: what is staged under it is not thrown away because the source was mistyped. */
function checkSource(name: string, source: ForkSource, { origin, baseSnapshotId }: ForkState): void {
  const began = origin.originSnapshotId ?? `a blank disk of ${formatBytes(origin.sizeBytes)}`;
  const fits =
    source.kind === 'blank'
      ? origin.originSnapshotId === null && origin.sizeBytes === source.sizeBytes
      : source.snapshotId === origin.originSnapshotId || source.snapshotId === baseSnapshotId;
  if (fits) return;
  const asked =
    source.kind === 'blank'
      ? `blank disk of ${formatBytes(source.sizeBytes)}`
      : `fork of ${source.snapshotId}`;
  throw new UsageError(
    `Cannot serve "${name}" as a ${asked}: a fork of that name is kept, which began as ${began}. Choose another name, or "snapnbd discard" it.`,
  );
}
