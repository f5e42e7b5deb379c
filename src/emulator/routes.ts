/** The six operations of the EBS direct APIs. */
export const Operation = {
  ListSnapshotBlocks: 'ListSnapshotBlocks',
  ListChangedBlocks: 'ListChangedBlocks',
  GetSnapshotBlock: 'GetSnapshotBlock',
  StartSnapshot: 'StartSnapshot',
  PutSnapshotBlock: 'PutSnapshotBlock',
  CompleteSnapshot: 'CompleteSnapshot',
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** What a request asks for. */
export interface Route {
  readonly operation: Operation;
  /** From the path; '' for StartSnapshot. The second one for ListChangedBlocks. */
  readonly snapshotId: string;
  /** From the path, as it stands there; undefined where the path has none. */
  readonly blockIndex: string | undefined;
}

interface Pattern {
  readonly method: string;
  readonly path: RegExp;
  readonly operation: Operation;
}

// [ebs: Wire format] `completion` comes before the pattern that would take it for a snapshot.
const PATTERNS: readonly Pattern[] = [
  {
    method: 'GET',
    path: /^\/snapshots\/([^/]*)\/blocks\/([^/]*)$/,
    operation: Operation.GetSnapshotBlock,
  },
  {
    method: 'PUT',
    path: /^\/snapshots\/([^/]*)\/blocks\/([^/]*)$/,
    operation: Operation.PutSnapshotBlock,
  },
  { method: 'GET', path: /^\/snapshots\/([^/]*)\/blocks\/?$/, operation: Operation.ListSnapshotBlocks },
  { method: 'GET', path: /^\/snapshots\/([^/]*)\/changedblocks\/?$/, operation: Operation.ListChangedBlocks },
  { method: 'POST', path: /^\/snapshots\/completion\/([^/]*)$/, operation: Operation.CompleteSnapshot },
  { method: 'POST', path: /^\/snapshots\/?$/, operation: Operation.StartSnapshot },
];

/** The operation that a method and a path name, or undefined. @param path without the query. */
export function findRoute(method: string, path: string): Route | undefined {
  for (const pattern of PATTERNS) {
    if (pattern.method !== method) continue;
    const match = pattern.path.exec(path);
    if (match === null) continue;
    const snapshotId = decodeSegment(match[1]);
    const blockIndex = decodeSegment(match[2]);
    return { operation: pattern.operation, snapshotId: snapshotId ?? '', blockIndex };
  }
  return undefined;
}

/** A percent sign that escapes nothing is left as it is: the value is refused as what it is. */
function decodeSegment(segment: string | undefined): string | undefined {
  if (segment?.includes('%') !== true) return segment;
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    if (error instanceof URIError) return segment;
    throw error;
  }
}
