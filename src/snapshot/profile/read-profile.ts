import { BLOCKS_PER_GIB, SNAPSHOT_ID_PATTERN, VOLUME_SIZE_MAX_GIB } from '../../ebs/constants.js';
import { SnapnbdError } from '../../util/errors.js';

/** Blocks of one profile: 8 GiB, more than any system reads when it starts. */
export const PROFILE_BLOCKS_MAX = 16_384;

/** Longer texts are no profile: this has room for {@link PROFILE_BLOCKS_MAX} blocks, each on a line of its own. */
export const PROFILE_BYTES_MAX = 2 * 2 ** 20;

/** A week: times beyond it are no times of a start. */
const AT_MS_MAX = 7 * 86_400_000;

const FORMAT = 'snapnbd-profile';
const VERSION = 1;

/** A block that was read, and how long after the first one, in milliseconds. */
export type ProfiledBlock = readonly [blockIndex: number, atMs: number];

/** What a client read of a snapshot after it was opened, in the order in which it did. */
export interface ReadProfile {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  /** ISO 8601. */
  readonly recordedAt: string;
  /** Each block once, when it was first read. */
  readonly blocks: readonly ProfiledBlock[];
}

/** A text is no profile. The message says what is wrong with it, without a subject: `it is not JSON`. */
export class ProfileFormatError extends SnapnbdError {
  override readonly name = 'ProfileFormatError';
}

/** The profile as text, to be kept or shipped. */
export function encodeProfile({ snapshotId, volumeSizeGib, recordedAt, blocks }: ReadProfile): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, snapshotId, volumeSizeGib, recordedAt, blocks })}\n`;
}

/** Reads a profile that may come from anywhere. @throws {ProfileFormatError} for everything that is none. */
export function decodeProfile(text: string): ReadProfile {
  if (text.length > PROFILE_BYTES_MAX) throw new ProfileFormatError('it is too long for a profile');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProfileFormatError('it is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw new ProfileFormatError('it is not a JSON object');
  const { format, version, snapshotId, volumeSizeGib, recordedAt, blocks } = value as Readonly<
    Record<string, unknown>
  >;
  if (format !== FORMAT) throw new ProfileFormatError(`its "format" is not "${FORMAT}"`);
  if (version !== VERSION) throw new ProfileFormatError(`its "version" is not ${VERSION}`);
  if (typeof snapshotId !== 'string' || !SNAPSHOT_ID_PATTERN.test(snapshotId))
    throw new ProfileFormatError('its "snapshotId" is not the id of a snapshot');
  if (!isWhole(volumeSizeGib, 1, VOLUME_SIZE_MAX_GIB))
    throw new ProfileFormatError(
      `its "volumeSizeGib" is not a whole number from 1 to ${VOLUME_SIZE_MAX_GIB}`,
    );
  if (typeof recordedAt !== 'string' || Number.isNaN(Date.parse(recordedAt)) || recordedAt.length > 40)
    throw new ProfileFormatError('its "recordedAt" is not a date');
  return {
    snapshotId,
    volumeSizeGib,
    recordedAt,
    blocks: checkBlocks(blocks, volumeSizeGib * BLOCKS_PER_GIB),
  };
}

function checkBlocks(blocks: unknown, blockCount: number): readonly ProfiledBlock[] {
  if (!Array.isArray(blocks)) throw new ProfileFormatError('its "blocks" are not a list');
  if (blocks.length === 0) throw new ProfileFormatError('its "blocks" are none');
  if (blocks.length > PROFILE_BLOCKS_MAX)
    throw new ProfileFormatError(`its "blocks" are more than ${PROFILE_BLOCKS_MAX}`);
  const seen = new Set<number>();
  let latestMs = 0;
  return blocks.map((entry: unknown, at): ProfiledBlock => {
    const [blockIndex, atMs] = Array.isArray(entry) && entry.length === 2 ? (entry as unknown[]) : [];
    if (!isWhole(blockIndex, 0, blockCount - 1) || seen.has(blockIndex))
      throw new ProfileFormatError(`its block number ${at} is not another block of the volume`);
    if (!isWhole(atMs, latestMs, AT_MS_MAX))
      throw new ProfileFormatError(`its block number ${at} was not read after the one before`);
    seen.add(blockIndex);
    latestMs = atMs;
    return [blockIndex, atMs];
  });
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}
