import { EbsErrorKind } from '../../ebs/errors.js';

const TEXTS: Partial<Readonly<Record<EbsErrorKind, string>>> = {
  [EbsErrorKind.NotFound]: 'there is no such snapshot that can be read here',
  [EbsErrorKind.Archived]: 'the snapshot is in the archive tier: it has to be restored first',
  [EbsErrorKind.UnrelatedSnapshots]: 'it cannot be compared: the two snapshots are not of one lineage',
  [EbsErrorKind.AccessDenied]: 'the server has no right to read this snapshot',
  [EbsErrorKind.KeyUnavailable]: 'the server cannot use the key of this snapshot',
  [EbsErrorKind.ThrottledAccount]: 'the request quota is used up: try again later',
  [EbsErrorKind.ThrottledSnapshot]: 'the request quota of this snapshot is used up: try again later',
  [EbsErrorKind.Timeout]: 'the service did not answer in time: try again later',
  [EbsErrorKind.Network]: 'the service cannot be reached: try again later',
  [EbsErrorKind.Dns]: 'the service cannot be reached: try again later',
  [EbsErrorKind.Server]: 'the service has a fault: try again later',
  [EbsErrorKind.CostLimit]: 'the server has spent what it may (--max-cost)',
};

/**
 * Why a snapshot cannot be opened, for a client: what is wrong, but neither accounts nor keys nor endpoints, which the log
 * has.
 *
 * @param kind undefined for failures that are not the service's.
 */
export function refusalTextOf(kind: EbsErrorKind | undefined): string {
  return (
    (kind === undefined ? undefined : TEXTS[kind]) ?? "the snapshot could not be opened: see the server's log"
  );
}
