import type { VolumeReader } from '../volume-reader.js';
import type { Probe, VolumeContents } from './contents.js';
import {
  probeApfs,
  probeBitlocker,
  probeExfat,
  probeFat,
  probeHfsPlus,
  probeIso9660,
  probeNtfs,
  probeRefs,
  probeUdf,
  probeZfs,
} from './elsewhere.js';
import {
  probeBtrfs,
  probeErofs,
  probeExt,
  probeF2fs,
  probeLuks,
  probeLvm,
  probeMdRaid,
  probeMdRaidTail,
  probeSquashfs,
  probeSwap,
  probeXfs,
} from './linux.js';

/** The last signature is in the superblock of btrfs, 4 KiB at 64 KiB. */
const HEAD_BYTES = 72 * 1024;
/** Two times the 64 KiB that the oldest RAID superblock is aligned to. */
const TAIL_BYTES = 128 * 1024;

/** In order: what wraps a filesystem comes before what may be left of it beneath. */
const PROBES: readonly Probe[] = [
  probeLuks,
  probeLvm,
  probeMdRaid,
  probeZfs,
  probeBitlocker,
  probeXfs,
  probeSquashfs,
  probeNtfs,
  probeExfat,
  probeRefs,
  probeApfs,
  probeExt,
  probeBtrfs,
  probeSwap,
  probeF2fs,
  probeErofs,
  probeHfsPlus,
  probeIso9660,
  probeUdf,
  probeFat,
];

/**
 * Recognises what a volume holds, by signatures in its first 72 KiB; where there is none, by those at its end.
 *
 * @returns undefined for a volume that is empty, or holds what is not known here.
 */
export async function recogniseVolume(
  volume: VolumeReader,
  signal?: AbortSignal,
): Promise<VolumeContents | undefined> {
  const head = await volume.readUpTo(0, HEAD_BYTES, signal);
  for (const probe of PROBES) {
    const contents = probe(head);
    if (contents !== undefined) return contents;
  }
  const tail = await volume.readUpTo(volume.sizeBytes - TAIL_BYTES, TAIL_BYTES, signal);
  return probeMdRaidTail(tail, volume.sizeBytes);
}
