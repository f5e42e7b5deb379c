import { SNAPSHOT_ID_PATTERN } from '../../ebs/constants.js';
import { OWNER_ID } from '../operations/start-snapshot.js';
import type { SnapshotRegistry } from '../snapshot-registry.js';
import { SnapshotOrigin, SnapshotState, type SnapshotMetadata } from '../store/metadata.js';
import { matchesWildcards } from '../../util/wildcards.js';
import { Ec2ApiError } from './ec2-error.js';
import { invalidValue, shown, type Ec2Query, type QueryFilter } from './query.js';
import type { XmlElements } from './xml.js';

/** [ec2: DescribeSnapshots / MaxResults] */
const RESULTS_MIN = 5;
const RESULTS_MAX = 1000;

/** What EC2 gives for snapshots that were made of no volume. */
const NO_VOLUME_ID = 'vol-ffffffff';

/** [ec2: DescribeSnapshots] In the order of their ids, which says nothing, as that of the service does. */
export async function describeSnapshots(snapshots: SnapshotRegistry, query: Ec2Query): Promise<XmlElements> {
  const ids = query.list('SnapshotId');
  const resultsMax = query.integer('MaxResults', RESULTS_MIN, RESULTS_MAX);
  if (ids.length > 0 && resultsMax !== undefined) {
    throw new Ec2ApiError(
      'InvalidParameterCombination',
      'The parameter snapshotSet cannot be used with the parameter maxResults',
    );
  }
  const owners = query.list('Owner');
  const filters = query.filters();
  const after = decodeToken(query.text('NextToken'));
  const all = ids.length === 0 ? await snapshots.all() : await byIds(snapshots, ids);
  const fitting = all
    .filter((snapshot) => isOwned(owners) && filters.every((filter) => fits(snapshot, filter)))
    .filter(({ snapshotId }) => after === undefined || snapshotId > after)
    .sort((a, b) => (a.snapshotId < b.snapshotId ? -1 : 1));
  const page = fitting.slice(0, resultsMax ?? RESULTS_MAX);
  const last = page.at(-1);
  return {
    snapshotSet: page.map(elementsOf),
    nextToken: page.length < fitting.length && last !== undefined ? encodeToken(last.snapshotId) : undefined,
  };
}

async function byIds(snapshots: SnapshotRegistry, ids: readonly string[]): Promise<SnapshotMetadata[]> {
  const found: SnapshotMetadata[] = [];
  for (const id of new Set(ids)) {
    if (!SNAPSHOT_ID_PATTERN.test(id)) {
      throw new Ec2ApiError(
        'InvalidParameterValue',
        `Value (${shown(id)}) for parameter snapshotId is invalid. Expected: 'snap-...'.`,
      );
    }
    const snapshot = await snapshots.find(id);
    if (snapshot === undefined)
      throw new Ec2ApiError('InvalidSnapshot.NotFound', `The snapshot '${id}' does not exist.`);
    found.push(snapshot);
  }
  return found;
}

function isOwned(owners: readonly string[]): boolean {
  return owners.length === 0 || owners.includes('self') || owners.includes(OWNER_ID);
}

type FilteredText = (snapshot: SnapshotMetadata) => string;

const FILTERS: Readonly<Record<string, FilteredText>> = {
  description: ({ description }) => description ?? '',
  encrypted: ({ kmsKeyArn }) => String(kmsKeyArn !== null),
  'owner-alias': () => '',
  'owner-id': () => OWNER_ID,
  progress: progressOf,
  'snapshot-id': ({ snapshotId }) => snapshotId,
  'start-time': ({ startTimeMs }) => timeOf(startTimeMs),
  status: ({ state }) => state,
  'storage-tier': () => 'standard',
  'volume-id': volumeIdOf,
  'volume-size': ({ volumeSizeGib }) => String(volumeSizeGib),
};

/** [ec2: DescribeSnapshots / Filters] Any of the values, which may have wildcards. */
function fits(snapshot: SnapshotMetadata, { name, values }: QueryFilter): boolean {
  const isAnyOf = (text: string): boolean => values.some((value) => matchesWildcards(value, text));
  if (name === 'tag-key') return Object.keys(snapshot.tags).some(isAnyOf);
  if (name.startsWith('tag:')) {
    const value = new Map(Object.entries(snapshot.tags)).get(name.slice('tag:'.length));
    return value !== undefined && isAnyOf(value);
  }
  if (!Object.hasOwn(FILTERS, name))
    throw new Ec2ApiError('InvalidParameterValue', `The filter '${shown(name)}' is invalid`);
  return isAnyOf(FILTERS[name]?.(snapshot) ?? '');
}

function elementsOf(snapshot: SnapshotMetadata): XmlElements {
  const { snapshotId, description, kmsKeyArn, tags } = snapshot;
  return {
    snapshotId,
    volumeId: volumeIdOf(snapshot),
    status: snapshot.state,
    statusMessage: snapshot.errorReason ?? undefined,
    startTime: timeOf(snapshot.startTimeMs),
    completionTime: snapshot.completedAtMs === null ? undefined : timeOf(snapshot.completedAtMs),
    progress: progressOf(snapshot),
    ownerId: OWNER_ID,
    volumeSize: snapshot.volumeSizeGib,
    description: description ?? '',
    encrypted: kmsKeyArn !== null,
    kmsKeyId: kmsKeyArn ?? undefined,
    storageTier: 'standard',
    tagSet: Object.entries(tags).map(([key, value]) => ({ key, value })),
  };
}

/**
 * Images that were imported on top of one another, and each synthetic snapshot, are of one volume. What was put through
 * the API is of none, as at AWS.
 */
function volumeIdOf({ origin, lineageRootId }: SnapshotMetadata): string {
  return origin === SnapshotOrigin.Api ? NO_VOLUME_ID : lineageRootId.replace(/^snap-/, 'vol-');
}

function progressOf({ state }: SnapshotMetadata): string {
  return state === SnapshotState.Completed ? '100%' : '0%';
}

function timeOf(dateMs: number): string {
  return new Date(dateMs).toISOString();
}

function encodeToken(snapshotId: string): string {
  return Buffer.from(snapshotId).toString('base64url');
}

function decodeToken(token: string | undefined): string | undefined {
  if (token === undefined || token === '') return undefined;
  const snapshotId = Buffer.from(token, 'base64url').toString();
  if (!SNAPSHOT_ID_PATTERN.test(snapshotId)) throw invalidValue('NextToken', token);
  return snapshotId;
}
