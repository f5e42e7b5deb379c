import { randomUUID } from 'node:crypto';
import type { CommitWishes, PendingSnapshot } from '../writer/fork-facts.js';

/** What the journal of a snapshot that is being made says beside its blocks. */
export interface PutState {
  readonly volumeSizeGib: number;
  readonly pending: PendingSnapshot;
}

/** A snapshot that has not been started. */
export function newPutState(
  wishes: CommitWishes,
  parentSnapshotId: string | undefined,
  volumeSizeGib: number,
): PutState {
  return {
    volumeSizeGib,
    pending: {
      ...wishes,
      // The service takes a key for a snapshot without parent alone; a child has its parent's.
      encryption: parentSnapshotId === undefined ? wishes.encryption : null,
      clientToken: randomUUID(),
      parentSnapshotId: parentSnapshotId ?? null,
      snapshotId: null,
      startedMs: 0,
      encrypted: parentSnapshotId === undefined && wishes.encryption !== null,
      completing: null,
    },
  };
}

/** The state that an earlier run left, if it is one for a volume of this size. Undefined: begin anew. */
export function readPutState(json: unknown, volumeSizeGib: number): PutState | undefined {
  // It has a checksum and a version, so whatever is there was written by this program.
  if (typeof json !== 'object' || json === null || !('pending' in json)) return undefined;
  const state = json as PutState;
  return state.volumeSizeGib === volumeSizeGib ? state : undefined;
}
