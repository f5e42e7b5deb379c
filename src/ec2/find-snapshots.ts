import { answerError } from '../ebs/error-map.js';
import { EbsErrorKind } from '../ebs/errors.js';
import type { DescribeSnapshotsRequest, Ec2Api, Ec2CallOptions, SnapshotDescription } from './ec2-api.js';

/** [ec2: DescribeSnapshots] The most that one page holds. */
const PAGE_SNAPSHOTS_MAX = 1000;

/** Pages of one search: a million snapshots, ten times the quota of an account. A service that never ends ends here. */
const PAGES_MAX = 1000;

/** What to look for, and how much of it is wanted. */
export interface FindSnapshotsRequest extends Pick<
  DescribeSnapshotsRequest,
  'snapshotIds' | 'owners' | 'filters'
> {
  /** How many are kept, the newest ones. Default: all. */
  readonly countMax?: number;
  /** Only those that this is true for. Default: all. */
  readonly accept?: (snapshot: SnapshotDescription) => boolean;
}

/**
 * All snapshots that fit, the newest first. The service gives them in no order, so every page is read; of those no more
 * than twice `countMax` are held at a time.
 *
 * @throws {EbsError}
 */
export async function findSnapshots(
  api: Ec2Api,
  request: FindSnapshotsRequest,
  options?: Ec2CallOptions,
): Promise<readonly SnapshotDescription[]> {
  const { snapshotIds, owners, filters, accept = () => true } = request;
  const countMax = request.countMax ?? Number.POSITIVE_INFINITY;
  // [ec2: DescribeSnapshots] MaxResults and ids exclude one another.
  const which = {
    ...(snapshotIds === undefined ? { resultsMax: PAGE_SNAPSHOTS_MAX } : { snapshotIds }),
    ...(owners === undefined ? {} : { owners }),
    ...(filters === undefined ? {} : { filters }),
  };
  let found: SnapshotDescription[] = [];
  let nextToken: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await api.describeSnapshots(
      nextToken === undefined ? which : { ...which, nextToken },
      options,
    );
    found.push(...answer.snapshots.filter(accept));
    if (found.length > countMax + PAGE_SNAPSHOTS_MAX) found = newestFirst(found).slice(0, countMax);
    nextToken = answer.nextToken;
    if (nextToken === undefined) return newestFirst(found).slice(0, countMax);
  }
  const other = {
    attempt: 'list snapshots',
    permission: 'ec2:DescribeSnapshots',
    endpointOption: '--ec2-endpoint-url',
  };
  const subject = { other, region: api.region };
  throw answerError(EbsErrorKind.ContractViolation, subject, `there is no end after ${PAGES_MAX} pages`);
}

/** By their start, and by their ids where that is the same, so that the order never changes. */
function newestFirst(snapshots: readonly SnapshotDescription[]): SnapshotDescription[] {
  return [...snapshots].sort(
    (a, b) => b.startTimeMs - a.startTimeMs || (a.snapshotId < b.snapshotId ? -1 : 1),
  );
}
