import { setMaxListeners } from 'node:events';
import type { Extent, ExtentOptions, ExtentSource } from '../device/block-device.js';
import { DeviceErrno, DeviceError } from '../device/device-error.js';
import { ExtentListBuilder, mergeExtents } from '../device/extent-list.js';
import type { CallOptions, SnapshotApi } from '../ebs/snapshot-api.js';
import { changeExtentsOf, changeFailure, changeViewsOf } from '../snapshot/changed/change-contexts.js';
import { ChangeMap } from '../snapshot/changed/change-map.js';
import { ChangeFlag } from '../snapshot/changed/change-page.js';
import { OPEN_RETRY_TOTAL_MS } from '../snapshot/changed/compared-snapshot.js';
import { FailureLog } from '../snapshot/failure-log.js';
import { onAbort } from '../util/abort-callbacks.js';
import { assert } from '../util/assert.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { GIB } from '../util/units.js';
import { FORK_BITMAP } from '../writer/fork-device.js';
import { StagedFlag } from '../writer/fork-view.js';
import type { Fork } from '../writer/fork.js';

export interface ForkChangesOptions {
  /** Retrying. */
  readonly api: SnapshotApi;
  /** Snapshots of its lineage; that which it is based on may be among them. */
  readonly since: readonly string[];
  /** Whether the first of them is the only bitmap of QEMU's that is offered. Default: false, also that of the fork is. */
  readonly hasOneBitmap?: boolean | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Gives up opening. Of no effect later. */
  readonly signal?: AbortSignal | undefined;
}

const CLOSED = new DeviceError(DeviceErrno.ESHUTDOWN, 'Cannot compare the fork: it has been closed.');

/**
 * What has changed in a fork since other snapshots: what its base has changed since them, as ListChangedBlocks says, and
 * what is staged. After a commit it is asked about the new base, when somebody wants to know.
 */
export class ForkChanges {
  /** Those of the fork, and those of the snapshots. */
  readonly metaContexts: ReadonlyMap<string, ExtentSource>;
  readonly #pasts: readonly PastSnapshot[];
  readonly #closing: AbortController;

  private constructor(fork: Fork, pasts: readonly PastSnapshot[], closing: AbortController, isOne: boolean) {
    this.#pasts = pasts;
    this.#closing = closing;
    const contexts = pasts.flatMap((past, position) =>
      [...changeViewsOf(past.snapshotId, { hasBitmap: position === 0 || !isOne })].map(
        ([name, show]): [string, ExtentSource] => [
          name,
          {
            extents: async (...question) => shown(await past.extents(...question), show),
          },
        ],
      ),
    );
    const own = [...fork.device.metaContexts].filter(([name]) => !isOne || name !== FORK_BITMAP);
    this.metaContexts = new Map([...own, ...contexts]);
  }

  /**
   * Compares the base as it is with each of them, by two list calls.
   *
   * @param fork of a snapshot, not of a blank disk.
   * @throws {EbsError} when one of them cannot be compared; the signal's reason when it aborts first.
   */
  static async open(fork: Fork, options: ForkChangesOptions): Promise<ForkChanges> {
    const { api, since, hasOneBitmap = false, logger, clock, signal } = options;
    signal?.throwIfAborted();
    const closing = new AbortController();
    setMaxListeners(0, closing.signal);
    const failures = new FailureLog(logger, clock);
    const parts = { fork, api, failures, signal: closing.signal };
    const pasts = since.map((snapshotId) => new PastSnapshot(snapshotId, parts));
    const changes = new ForkChanges(fork, pasts, closing, hasOneBitmap);
    const leave = onAbort(signal, () => closing.abort(signal?.reason));
    try {
      const outcomes = await Promise.allSettled(
        pasts.map((past) => past.compare({ retryTotalMs: OPEN_RETRY_TOTAL_MS })),
      );
      const failure = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failure !== undefined) {
        changes.close();
        throw failure.reason;
      }
      return changes;
    } finally {
      leave();
    }
  }

  /** Once or more. */
  close(): void {
    this.#closing.abort(CLOSED);
    for (const past of this.#pasts) past.close();
  }
}

interface PastParts {
  readonly fork: Fork;
  readonly api: SnapshotApi;
  readonly failures: FailureLog;
  readonly signal: AbortSignal;
}

/** A snapshot that a fork is compared with, whatever the fork is based on at the time. */
class PastSnapshot {
  readonly snapshotId: string;
  readonly #parts: PastParts;
  #comparison: { readonly baseId: string; readonly map: Promise<ChangeMap> } | undefined;

  constructor(snapshotId: string, parts: PastParts) {
    this.snapshotId = snapshotId;
    this.#parts = parts;
  }

  /** In the flags of {@link ChangeFlag}. Of what is staged they do not say whether the other snapshot has it. */
  async extents(offset: number, lengthBytes: number, options: ExtentOptions): Promise<readonly Extent[]> {
    const { device } = this.#parts.fork;
    // Both at one moment, before anything is waited for: a commit moves what is staged to the base, whole.
    const staged = device.stagedExtents(offset, lengthBytes, options.extentsMax);
    const baseId = this.#baseId;
    const stagedBytes = staged[0]?.flags === 0 ? 0 : (staged[0]?.lengthBytes ?? 0);
    const describedBytes = staged.reduce((sum, extent) => sum + extent.lengthBytes, 0);
    const below: Extent[] = stagedBytes === 0 ? [] : [{ lengthBytes: stagedBytes, flags: 0 }];
    if (describedBytes > stagedBytes) {
      try {
        const range = [offset + stagedBytes, describedBytes - stagedBytes] as const;
        below.push(...(await this.#baseExtents(baseId, ...range, options)));
      } catch (error) {
        options.signal?.throwIfAborted();
        // What is staged is a good answer; the question about the rest will come, and fail by itself.
        if (stagedBytes === 0) throw error;
      }
    }
    return united(staged, below, options.extentsMax);
  }

  /** Has the map of the base as it is. @throws {EbsError} */
  async compare(callOptions: CallOptions): Promise<void> {
    if (this.#baseId !== this.snapshotId) await this.#mapOf(this.#baseId, callOptions);
  }

  close(): void {
    this.#comparison?.map.then(
      (map) => map.close(),
      // Those who asked for it were told; nothing is left to be closed.
      () => undefined,
    );
    this.#comparison = undefined;
  }

  get #baseId(): string {
    const { baseSnapshotId } = this.#parts.fork.store.state;
    assert(baseSnapshotId !== undefined, 'a fork of a snapshot has a base');
    return baseSnapshotId;
  }

  async #baseExtents(
    baseId: string,
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): Promise<readonly Extent[]> {
    if (baseId === this.snapshotId) return [{ lengthBytes, flags: 0 }];
    const { failures, signal } = this.#parts;
    signal.throwIfAborted();
    const map = await this.#mapOf(baseId, {}).catch((error: unknown) => {
      throw changeFailure(error, failures);
    });
    return changeExtentsOf(map, failures).extents(offset, lengthBytes, options);
  }

  // [single flight] A failure is forgotten: the next question asks again.
  #mapOf(baseId: string, callOptions: CallOptions): Promise<ChangeMap> {
    if (this.#comparison?.baseId === baseId) return this.#comparison.map;
    // Questions about the base before go on with the map that they have.
    this.close();
    const { fork, api, signal } = this.#parts;
    const ids = { firstSnapshotId: this.snapshotId, secondSnapshotId: baseId };
    const secondSizeGib = fork.device.sizeBytes / GIB;
    const map = ChangeMap.open({ ...ids, api, secondSizeGib, signal }, callOptions);
    const comparison = (this.#comparison = { baseId, map });
    map.catch(() => {
      if (this.#comparison === comparison) this.#comparison = undefined;
    });
    return map;
  }
}

/** What is staged over what its base has changed, as far as both are described. */
function united(staged: readonly Extent[], below: readonly Extent[], extentsMax: number): readonly Extent[] {
  const list = new ExtentListBuilder(extentsMax);
  const bases = below[Symbol.iterator]();
  let base = bases.next();
  let baseLeft = base.value?.lengthBytes ?? 0;
  for (const { lengthBytes, flags } of staged) {
    for (let left = lengthBytes; left > 0;) {
      if (base.done === true) return list.build();
      const partBytes = Math.min(left, baseLeft);
      if (!list.add(partBytes, flags === 0 ? base.value.flags : changeOf(flags))) return list.build();
      left -= partBytes;
      baseLeft -= partBytes;
      if (baseLeft === 0) {
        base = bases.next();
        baseLeft = base.value?.lengthBytes ?? 0;
      }
    }
  }
  return list.build();
}

function changeOf(stagedFlags: number): number {
  return ChangeFlag.Changed | ((stagedFlags & StagedFlag.Zeros) === 0 ? 0 : ChangeFlag.Removed);
}

function shown(extents: readonly Extent[], show: (flags: number) => number): readonly Extent[] {
  return mergeExtents(extents.map(({ lengthBytes, flags }) => ({ lengthBytes, flags: show(flags) })));
}
