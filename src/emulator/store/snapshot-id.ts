import { randomBytes } from 'node:crypto';

/** A new snapshot id: `snap-` and 17 hexadecimal digits, the first of them 0 as in the ids that AWS gives. */
export function newSnapshotId(): string {
  return `snap-0${randomBytes(8).toString('hex')}`;
}
