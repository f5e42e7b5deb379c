import { systemClock, type Clock } from '../../util/clock.js';
import { SnapshotOrigin, SnapshotState, newMetadata, type SnapshotMetadata } from '../store/metadata.js';
import { newSnapshotId } from '../store/snapshot-id.js';
import { openLayout } from '../store/layout.js';
import { asStoringError, publishMetadata } from '../store/snapshot-builder.js';
import { SynthView } from './synth-view.js';

export interface SynthOptions {
  /** The emulator's folder; made when there is none. A server may be running on it. */
  readonly dir: string;
  /** From 1 to 65,536. */
  readonly volumeSizeGib: number;
  /** Share of blocks that are listed, 0 to 1, to the millionth. Default: 1. */
  readonly fill?: number;
  /** From 0 to 2^32 - 1. Default: 1. */
  readonly seed?: number;
  readonly description?: string;
  readonly clock?: Clock;
}

/**
 * Makes a snapshot whose listed blocks and contents are computed when they are asked for. It takes one small file.
 *
 * @returns the id of the snapshot, which is complete.
 * @throws {EnvironmentError} when the folder cannot be used.
 */
export async function createSynth(options: SynthOptions): Promise<string> {
  const { dir, volumeSizeGib, fill = 1, seed = 1, clock = systemClock } = options;
  const layout = await openLayout(dir);
  const snapshotId = newSnapshotId();
  const synth = { seed, fillPpm: Math.round(fill * 1_000_000) };
  const metadata: SnapshotMetadata = {
    ...newMetadata(snapshotId, volumeSizeGib, clock.dateMs()),
    origin: SnapshotOrigin.Synth,
    state: SnapshotState.Completed,
    completedAtMs: clock.dateMs(),
    description: options.description ?? null,
    synth,
    ownBlockCount: 0,
    listedBlockCount: new SynthView(snapshotId, volumeSizeGib, synth).listedBlockCount,
  };
  try {
    await publishMetadata(layout, metadata);
  } catch (error) {
    throw asStoringError(layout, error);
  }
  return snapshotId;
}
