import { setMaxListeners } from 'node:events';
import type {
  BlockDevice,
  Extent,
  ExtentOptions,
  ExtentSource,
  ReadIntoResult,
  ReadResult,
  ReadOptions,
  RequestOptions,
} from '../../device/block-device.js';
import { DeviceErrno, DeviceError } from '../../device/device-error.js';
import type { SnapshotApi } from '../../ebs/snapshot-api.js';
import { onAbort } from '../../util/abort-callbacks.js';
import { systemClock, type Clock } from '../../util/clock.js';
import { silentLogger, type Logger } from '../../util/logger.js';
import { GIB } from '../../util/units.js';
import { FailureLog } from '../failure-log.js';
import type { SnapshotDevice } from '../snapshot-device.js';
import { changeContextsOf } from './change-contexts.js';
import { ChangeMap } from './change-map.js';

export interface ComparisonOptions {
  /** Retrying. */
  readonly api: SnapshotApi;
  readonly snapshotId: string;
  /** The snapshots that it is compared with. */
  readonly since: readonly string[];
  /** Whether only the first of them is offered as a bitmap of QEMU's: some clients refuse to choose. Default: false. */
  readonly hasOneBitmap?: boolean;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** Gives up opening. Of no effect later. */
  readonly signal?: AbortSignal;
}

/** Who starts a server waits for an answer: retrying is for networks that are just coming up. */
export const OPEN_RETRY_TOTAL_MS = 5000;

const CLOSED = new DeviceError(
  DeviceErrno.ESHUTDOWN,
  'Cannot compare the snapshots: the device has been closed.',
);

/**
 * Adds to a snapshot's disk what has changed since others, by two list calls for each of them.
 *
 * @param device which may be shared; closing the result closes it.
 * @throws {EbsError} when one of them cannot be compared with it; the signal's reason when it aborts first.
 */
export async function compareSnapshot(
  device: SnapshotDevice,
  options: ComparisonOptions,
): Promise<ComparedSnapshot> {
  const { api, snapshotId, since, signal, logger = silentLogger, clock = systemClock } = options;
  signal?.throwIfAborted();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const leave = onAbort(signal, () => closing.abort(signal?.reason));
  const pairOptions = { api, secondSnapshotId: snapshotId, secondSizeGib: device.sizeBytes / GIB };
  try {
    const opening = since.map((firstSnapshotId) =>
      ChangeMap.open(
        { ...pairOptions, firstSnapshotId, signal: closing.signal },
        { retryTotalMs: OPEN_RETRY_TOTAL_MS },
      ),
    );
    const outcomes = await Promise.allSettled(opening);
    const maps = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) {
      for (const map of maps) map.close();
      throw failure.reason;
    }
    const failures = new FailureLog(logger.child({ snapshot: snapshotId }), clock);
    const contexts = maps.flatMap((map, position) => {
      const hasBitmap = position === 0 || options.hasOneBitmap !== true;
      return [...changeContextsOf(map, failures, { hasBitmap })];
    });
    return new ComparedSnapshot(device, new Map(contexts), () => {
      closing.abort(CLOSED);
      for (const map of maps) map.close();
    });
  } finally {
    leave();
  }
}

/** A snapshot's disk, with contexts beside its own. Made by {@link compareSnapshot}. */
export class ComparedSnapshot implements BlockDevice {
  /** Without them. */
  readonly snapshot: SnapshotDevice;
  readonly metaContexts: ReadonlyMap<string, ExtentSource>;
  readonly #closeMaps: () => void;

  constructor(
    snapshot: SnapshotDevice,
    metaContexts: ReadonlyMap<string, ExtentSource>,
    closeMaps: () => void,
  ) {
    this.snapshot = snapshot;
    this.metaContexts = metaContexts;
    this.#closeMaps = closeMaps;
  }

  get sizeBytes(): number {
    return this.snapshot.sizeBytes;
  }

  get description(): string {
    return this.snapshot.description;
  }

  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult> {
    return this.snapshot.read(offset, lengthBytes, options);
  }

  readInto(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult {
    return this.snapshot.readInto(offset, lengthBytes, target, targetStart);
  }

  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    return this.snapshot.extents(offset, lengthBytes, options);
  }

  cache(offset: number, lengthBytes: number, options?: RequestOptions): Promise<void> {
    return this.snapshot.cache(offset, lengthBytes, options);
  }

  /** Once or more. */
  close(): void {
    this.#closeMaps();
    this.snapshot.close();
  }
}
