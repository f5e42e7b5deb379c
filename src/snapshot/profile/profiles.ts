import { EbsError } from '../../ebs/errors.js';
import type { Clock, Timer } from '../../util/clock.js';
import { messageOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import type { Lineage } from '../lineage/lineage.js';
import { ProfileRecorder, RECORDING_MS } from './profile-recorder.js';
import type { ProfileReplay } from './profile-replay.js';
import type { ProfileStore } from './profile-store.js';
import type { ProfiledBlock, ReadProfile } from './read-profile.js';

/** What is done with profiles. */
export const ProfileMode = {
  /** What is read is recorded, in place of what was recorded before. */
  Save: 'save',
  /** What was recorded is replayed; where there is nothing of that snapshot, it is recorded. */
  Use: 'use',
} as const;
export type ProfileMode = (typeof ProfileMode)[keyof typeof ProfileMode];

/** Profiles of other snapshots that are looked at, the latest first: each may cost a List call. */
const RELATIVES_MAX = 4;

/** Blocks of which it cannot be told whether they have changed; after so many the others are not asked about. */
const UNKNOWN_MAX = 16;

/** The part of a relative's profile that is brought although it has changed since: it may not be read any more. */
const CHANGED_PART_MAX = 0.05;

export interface ProfilesOptions {
  readonly store: ProfileStore;
  readonly mode: ProfileMode;
  /** Says what of a relative's profile still holds. Default: only a snapshot's own profile is replayed. */
  readonly lineage?: Lineage | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A device as its profile sees it. */
export interface ProfiledDevice {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  /** Prepares to bring blocks, in this order. */
  prepare(blocks: readonly number[]): ProfileReplay;
}

/** Told of what clients read of a snapshot. */
export interface ReadWatcher {
  /** A block is read that is not known to be a hole. */
  note(blockIndex: number): void;
  /** What comes now is no part of the beginning any more: it need not be told. */
  readonly isDone: boolean;
  /** The device is closed. Once or more. */
  close(): void;
}

/** What clients read first, of all snapshots of a server: recorded, and brought before they ask the next time. */
export class Profiles {
  readonly #options: ProfilesOptions;

  constructor(options: ProfilesOptions) {
    this.#options = options;
  }

  /** Watches the reads of a device that has been opened. Nothing happens before the first of them. */
  watch(device: ProfiledDevice): ReadWatcher {
    return new ProfileSession(this.#options, device);
  }
}

class ProfileSession implements ReadWatcher {
  readonly #options: ProfilesOptions;
  readonly #device: ProfiledDevice;
  readonly #closing = new AbortController();
  #ending: Timer | undefined;
  #recorder: ProfileRecorder | undefined;
  #replay: ProfileReplay | undefined;

  constructor(options: ProfilesOptions, device: ProfiledDevice) {
    this.#options = options;
    this.#device = device;
  }

  note(blockIndex: number): void {
    if (this.#ending === undefined) this.#begin();
    this.#recorder?.note(blockIndex);
    this.#replay?.note(blockIndex);
  }

  get isDone(): boolean {
    return this.#closing.signal.aborted;
  }

  close(): void {
    if (this.isDone) return;
    this.#closing.abort(new Error('the beginning is over'));
    this.#ending?.cancel();
    this.#recorder?.close();
    if (this.#replay === undefined) return;
    const subject = { snapshot: this.#device.snapshotId, ...this.#replay.result };
    this.#options.logger.info('of what was brought before it was read, this was not read', subject);
  }

  #begin(): void {
    const { mode, clock } = this.#options;
    this.#ending = clock.setTimer(RECORDING_MS, () => this.close());
    const own = mode === ProfileMode.Use ? this.#load(this.#device.snapshotId) : undefined;
    if (own === undefined) this.#recorder = new ProfileRecorder(clock, (blocks) => this.#save(blocks));
    if (own !== undefined) void this.#bring(own, () => Promise.resolve(true));
    else if (mode === ProfileMode.Use) void this.#bringRelatives();
  }

  async #bringRelatives(): Promise<void> {
    const { lineage } = this.#options;
    const { snapshotId } = this.#device;
    if (lineage === undefined) return;
    for (const otherId of this.#latest()) {
      const profile = this.#load(otherId);
      const [first] = profile?.blocks ?? [];
      if (profile === undefined || first === undefined) continue;
      if ((await lineage.isSame(snapshotId, profile, first[0])) === undefined) continue;
      let changedLeft = Math.floor(profile.blocks.length * CHANGED_PART_MAX);
      let unknownLeft = UNKNOWN_MAX;
      await this.#bring(profile, async (blockIndex) => {
        if (unknownLeft === 0) return false;
        const isSame = await lineage.isSame(snapshotId, profile, blockIndex);
        if (isSame === undefined) unknownLeft -= 1;
        if (isSame === false) changedLeft -= 1;
        return isSame === true || (isSame === false && changedLeft >= 0);
      });
      return;
    }
  }

  /** Never rejects: what is not brought is fetched when it is read. */
  async #bring(profile: ReadProfile, isWanted: (blockIndex: number) => Promise<boolean>): Promise<void> {
    const { logger } = this.#options;
    const subject = { snapshot: this.#device.snapshotId, recordedOf: profile.snapshotId };
    const replay = this.#device.prepare(profile.blocks.map(([blockIndex]) => blockIndex));
    this.#replay = replay;
    try {
      await replay.run(isWanted, this.#closing.signal);
      logger.info('what was read first the last time is at hand', {
        ...subject,
        broughtBlocks: replay.result.broughtBlocks,
      });
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const reason = messageOf(error);
      if (!(error instanceof EbsError)) throw error;
      logger.warn('cannot bring what was read first the last time', { ...subject, ...replay.result, reason });
    }
  }

  #latest(): readonly string[] {
    try {
      return this.#options.store.list().slice(0, RELATIVES_MAX);
    } catch (error) {
      this.#options.logger.warn('profiles of other snapshots are left out', { reason: messageOf(error) });
      return [];
    }
  }

  #load(snapshotId: string): ReadProfile | undefined {
    try {
      return this.#options.store.load(snapshotId);
    } catch (error) {
      this.#options.logger.warn('a profile is left out', { reason: messageOf(error) });
      return undefined;
    }
  }

  #save(blocks: readonly ProfiledBlock[]): void {
    const { store, clock, logger } = this.#options;
    const { snapshotId, volumeSizeGib } = this.#device;
    const recordedAt = new Date(clock.dateMs()).toISOString();
    try {
      store.save({ snapshotId, volumeSizeGib, recordedAt, blocks });
    } catch (error) {
      logger.warn('a profile is not kept', { reason: messageOf(error) });
    }
  }
}
