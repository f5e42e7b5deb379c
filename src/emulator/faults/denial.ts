import { matchesWildcards } from '../../util/wildcards.js';
import type { FaultSettings } from './settings.js';

/** True when the settings say that nobody has this permission. @param permission such as `ebs:GetSnapshotBlock`. */
export function isDenied(permission: string, { deny }: Pick<FaultSettings, 'deny'>): boolean {
  return deny?.split(',').some((pattern) => matchesWildcards(pattern, permission)) === true;
}

/** As IAM words it. */
export function denialText(permission: string, snapshotId: string): string {
  const resource = snapshotId === '' ? '*' : `arn:aws:ec2:us-east-1::snapshot/${snapshotId}`;
  return (
    `User: arn:aws:iam::123456789012:user/emulator is not authorized to perform: ${permission} on resource: ${resource} ` +
    `because no identity-based policy allows the ${permission} action`
  );
}
