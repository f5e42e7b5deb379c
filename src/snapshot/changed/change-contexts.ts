import {
  AllocationFlag,
  type Extent,
  type ExtentOptions,
  type ExtentSource,
} from '../../device/block-device.js';
import { DeviceErrno, DeviceError } from '../../device/device-error.js';
import { EbsError } from '../../ebs/errors.js';
import { RunExtents, type FlaggedRun } from '../run-extents.js';
import type { FailureLog } from '../failure-log.js';
import type { ChangeMap } from './change-map.js';
import { ChangeFlag } from './change-page.js';

/** What has changed since another point in time, by the name that QEMU gives it: 1 is dirty. [qemu: nbd.txt] */
export const DIRTY_BITMAP = 'qemu:dirty-bitmap:';

/** The same with the flags of {@link ChangeFlag}. */
export const CHANGED = 'ebs:changed:';

/**
 * What an overlay over a copy of the older snapshot has to have, in the flags of `base:allocation`: 1 (hole) where the
 * older one shows through, 2 (zero) where zeros are, 0 where there is data. Clients that take it for the allocation copy
 * an increment.
 */
export const OVERLAY = 'ebs:overlay:';

/** One lookup may be many list calls. */
const LOOKUPS_PER_QUESTION_MAX = 1;

/** Which of the names a client is offered. */
export interface ContextNames {
  /** Whether `qemu:dirty-bitmap:` is among them. */
  readonly hasBitmap: boolean;
}

/**
 * The contexts that show what has changed since the first snapshot of a map: all of one listing. A question that cannot be
 * answered fails; it is never answered with "clean".
 */
export function changeContextsOf(
  map: ChangeMap,
  failures: FailureLog,
  { hasBitmap }: ContextNames,
): ReadonlyMap<string, ExtentSource> {
  const views = changeViewsOf(map.pair.firstSnapshotId, { hasBitmap });
  return new Map([...views].map(([name, show]) => [name, new ChangeExtents(map, failures, show)]));
}

/** What a context shows of a block of which {@link ChangeFlag} says something. */
export type ChangeView = (flags: number) => number;

/** The names of the contexts that show what has changed since a snapshot, and what each shows. */
export function changeViewsOf(
  firstSnapshotId: string,
  { hasBitmap }: ContextNames,
): ReadonlyMap<string, ChangeView> {
  return new Map<string, ChangeView>([
    ...(hasBitmap ? [[DIRTY_BITMAP + firstSnapshotId, dirtyFlags] as const] : []),
    [CHANGED + firstSnapshotId, (flags) => flags],
    [OVERLAY + firstSnapshotId, overlayFlags],
  ]);
}

/** The extents of a map in the flags of {@link ChangeFlag}. A question that cannot be answered fails, and is logged. */
export function changeExtentsOf(map: ChangeMap, failures: FailureLog): ExtentSource {
  return new ChangeExtents(map, failures, (flags) => flags);
}

function dirtyFlags(flags: number): number {
  return flags & ChangeFlag.Changed;
}

function overlayFlags(flags: number): number {
  if ((flags & ChangeFlag.Changed) === 0) return AllocationFlag.Hole;
  return (flags & ChangeFlag.Removed) === 0 ? 0 : AllocationFlag.Zero;
}

class ChangeExtents implements ExtentSource {
  readonly #extents: RunExtents;
  readonly #failures: FailureLog;

  constructor(map: ChangeMap, failures: FailureLog, show: ChangeView) {
    const shown = ({ flags, endIndex }: FlaggedRun): FlaggedRun => ({ flags: show(flags), endIndex });
    this.#failures = failures;
    this.#extents = new RunExtents(
      {
        runAt: (blockIndex) => {
          const run = map.runAt(blockIndex);
          return run === undefined ? undefined : shown(run);
        },
        learn: async (blockIndex, signal) => shown(await map.learn(blockIndex, signal)),
      },
      { lookupsMax: LOOKUPS_PER_QUESTION_MAX },
    );
  }

  // [nbd: NBD_CMD_BLOCK_STATUS]
  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    const extents = this.#extents.extents(offset, lengthBytes, options);
    return extents instanceof Promise ? this.#reported(extents, options.signal) : extents;
  }

  async #reported(
    answer: Promise<readonly Extent[]>,
    signal: AbortSignal | undefined,
  ): Promise<readonly Extent[]> {
    try {
      return await answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw changeFailure(error, this.#failures);
    }
  }
}

/** What a client is told when it cannot be found out what has changed, which the log is told as well. */
export function changeFailure(error: unknown, failures: FailureLog): unknown {
  if (!(error instanceof EbsError)) return error;
  failures.tell('cannot tell what has changed', error);
  return new DeviceError(DeviceErrno.EIO, error.message, { cause: error });
}
