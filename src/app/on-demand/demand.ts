import { SNAPSHOT_ID_PATTERN } from '../../ebs/constants.js';
import { ExportRefusalKind, ExportRefusedError } from '../../nbd/export-table.js';
import { UsageError } from '../../util/errors.js';
import { parseSnapshotSource, type SnapshotSource } from '../export-spec.js';

/** Each costs two List calls, at the word of a client. */
const SINCE_MAX = 8;

/**
 * Reads the name that a client asks for: `snap-ID`, or `snap-ID,since=snap-ID`, the latter several times.
 *
 * @throws {ExportRefusedError} when it is anything else.
 */
export function parseDemand(name: string): SnapshotSource {
  const id = name.split(',', 1)[0] ?? '';
  if (!SNAPSHOT_ID_PATTERN.test(id)) {
    throw new ExportRefusedError(
      ExportRefusalKind.Unknown,
      'no export of this name, which is no id of a snapshot',
    );
  }
  let source: SnapshotSource | undefined;
  try {
    source = parseSnapshotSource(name, name);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
  }
  if (source === undefined || (source.since?.length ?? 0) > SINCE_MAX) {
    throw new ExportRefusedError(
      ExportRefusalKind.Unknown,
      `no export of this name: after the id may stand ,since=snap-ID with other snapshots, ${SINCE_MAX} times at most`,
    );
  }
  return source;
}
