import { GIB, KIB } from '../util/units.js';

// The figures of the EBS direct APIs (API version 2019-11-02) that both sides, client and emulator, rely on.

/** Every block of every snapshot has this size. */
export const BLOCK_BYTES = 512 * KIB;

/** Volume sizes are whole GiB, so a volume never ends in a partial block. */
export const BLOCKS_PER_GIB = GIB / BLOCK_BYTES;

/** The largest volume: 64 TiB. */
export const VOLUME_SIZE_MAX_GIB = 65_536;

/** MaxResults of the two list operations. Their default is not documented, so it is always sent. */
export const LIST_RESULTS_MIN = 100;
export const LIST_RESULTS_MAX = 10_000;

/** The only checksum algorithm there is. */
export const CHECKSUM_ALGORITHM = 'SHA256';

/** The only way of combining block checksums into the one of a snapshot. */
export const CHECKSUM_AGGREGATION = 'LINEAR';

/** `snap-` and 8 (until 2016) or 17 hexadecimal digits. */
export const SNAPSHOT_ID_PATTERN = /^snap-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;
