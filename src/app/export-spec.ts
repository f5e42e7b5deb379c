import { SNAPSHOT_ID_PATTERN, VOLUME_SIZE_MAX_GIB } from '../ebs/constants.js';
import { UsageError } from '../util/errors.js';
import { GIB, parseSizeBytes } from '../util/units.js';

/** Where the bytes of an export come from. */
export type ExportSource =
  SnapshotSource | { readonly kind: 'memory'; readonly sizeBytes: number } | ForkSource;

/** A disk that cannot be written. */
export interface SnapshotSource {
  readonly kind: 'snapshot';
  readonly snapshotId: string;
  /** Snapshots of its lineage: clients are told what has changed since each of them. Default: none. */
  readonly since?: readonly string[];
}

/** A disk that can be written, staged under the name of the export. */
export type ForkSource =
  | {
      readonly kind: 'fork';
      readonly snapshotId: string;
      /** As of {@link SnapshotSource}; the snapshot itself may be among them. Default: none. */
      readonly since?: readonly string[];
    }
  | { readonly kind: 'blank'; readonly sizeBytes: number };

/** One export, as it was asked for on the command line. */
export interface ExportSpec {
  /** What clients ask for. At most 4096 bytes of UTF-8, never empty. */
  readonly name: string;
  readonly source: ExportSource;
}

/** The protocol's bound on strings. */
const NAME_BYTES_MAX = 4096;

/** Sector size: a memory disk is a multiple of it. */
const SECTOR_BYTES = 512;

/** A scratch disk beyond the largest volume would only be a mistyped size. */
const MEMORY_BYTES_MAX = 2 ** 46;

/** What may stand after `NAME=`. */
const SOURCES = 'snap-ID, fork:snap-ID (both with or without ,since=snap-ID), blank:SIZE or memory:SIZE';

/** Each costs two List calls when the export is opened. */
const SINCE_MAX = 100;

/** A snapshot without a name, and something that is asked for with it. */
const SNAPSHOT_WITH_OPTIONS = /^snap-[0-9a-f]+,/;

/**
 * Reads one EXPORT argument: `snap-...`, `NAME=snap-...`, `NAME=fork:snap-...`, `NAME=blank:SIZE` or `NAME=memory:SIZE`. A
 * snapshot, also one that is forked, may be followed by `,since=snap-...`, several times.
 *
 * @throws {UsageError} with what is wrong and what is expected.
 */
export function parseExportSpec(text: string): ExportSpec {
  const separator = text.indexOf('=');
  if (SNAPSHOT_WITH_OPTIONS.test(text)) {
    const source = parseSnapshotSource(text, text);
    return { name: source.snapshotId, source };
  }
  if (separator < 0) {
    if (!text.startsWith('snap-')) {
      throw new UsageError(
        `Cannot serve "${text}": write snap-ID or NAME=SOURCE, where SOURCE is ${SOURCES}.`,
      );
    }
    return { name: text, source: { kind: 'snapshot', snapshotId: checkSnapshotId(text) } };
  }
  const name = text.slice(0, separator);
  checkName(name, text);
  return { name, source: parseSource(text.slice(separator + 1), text) };
}

/**
 * Reads all EXPORT arguments.
 *
 * @throws {UsageError} also when two have the same name, since a client could reach only one of them.
 */
export function parseExportSpecs(texts: readonly string[]): readonly ExportSpec[] {
  const specs = texts.map(parseExportSpec);
  const names = new Set<string>();
  for (const { name } of specs) {
    if (names.has(name))
      throw new UsageError(`Cannot serve two exports named "${name}": give one another NAME=.`);
    names.add(name);
  }
  return specs;
}

/**
 * Checks that `text` looks like the id of a snapshot.
 *
 * @throws {UsageError} when it does not.
 */
export function checkSnapshotId(text: string): string {
  if (!SNAPSHOT_ID_PATTERN.test(text)) {
    throw new UsageError(
      `Cannot use "${text}" as a snapshot id: it is snap- and 17 (or 8) hexadecimal digits, such as snap-0123456789abcdef0.`,
    );
  }
  return text;
}

function parseSource(source: string, text: string): ExportSource {
  if (source.startsWith('snap-')) return parseSnapshotSource(source, text);
  if (source.startsWith('memory:')) {
    const sizeBytes = parseSizeBytes(source.slice('memory:'.length));
    if (sizeBytes < SECTOR_BYTES || sizeBytes % SECTOR_BYTES !== 0 || sizeBytes > MEMORY_BYTES_MAX) {
      throw new UsageError(
        `Cannot serve "${text}": a memory disk is a multiple of 512 bytes, from 512 to 64 TiB.`,
      );
    }
    return { kind: 'memory', sizeBytes };
  }
  if (source.startsWith('fork:')) {
    return { kind: 'fork', ...parseSince(source.slice('fork:'.length), text) };
  }
  if (source.startsWith('blank:')) {
    const sizeBytes = parseSizeBytes(source.slice('blank:'.length));
    if (sizeBytes < GIB || sizeBytes % GIB !== 0 || sizeBytes > VOLUME_SIZE_MAX_GIB * GIB) {
      throw new UsageError(
        `Cannot serve "${text}": a blank disk is a whole number of GiB, from 1GiB to 64TiB.`,
      );
    }
    return { kind: 'blank', sizeBytes };
  }
  throw new UsageError(`Cannot serve "${text}": the source after NAME= is ${SOURCES}.`);
}

/**
 * Reads `snap-ID` or `snap-ID,since=snap-ID`, the latter several times.
 *
 * @param text what a user has written, for messages.
 * @throws {UsageError}
 */
export function parseSnapshotSource(source: string, text: string): SnapshotSource {
  const parsed = parseSince(source, text);
  if (parsed.since?.includes(parsed.snapshotId) === true) {
    throw new UsageError(`Cannot serve "${text}": nothing changes in ${parsed.snapshotId} since itself.`);
  }
  return { kind: 'snapshot', ...parsed };
}

function parseSince(source: string, text: string): Omit<SnapshotSource, 'kind'> {
  const [id = '', ...options] = source.split(',');
  const snapshotId = checkSnapshotId(id);
  if (options.length === 0) return { snapshotId };
  const since = options.map((option) => {
    if (!option.startsWith('since=')) {
      throw new UsageError(
        `Cannot serve "${text}": "${option}" is not an option of a snapshot; write since=snap-ID, once or more.`,
      );
    }
    return checkSnapshotId(option.slice('since='.length));
  });
  if (new Set(since).size < since.length) {
    throw new UsageError(`Cannot serve "${text}": one snapshot stands twice after since=.`);
  }
  if (since.length > SINCE_MAX) {
    throw new UsageError(
      `Cannot serve "${snapshotId}" with ${since.length} times since=: at most ${SINCE_MAX}.`,
    );
  }
  return { snapshotId, since };
}

function checkName(name: string, text: string): void {
  if (name === '') {
    throw new UsageError(
      `Cannot serve "${text}": the name before "=" is empty (the first export is the default one).`,
    );
  }
  if (name.includes('\0') || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new UsageError(`Cannot serve an export whose name has a NUL or more than ${NAME_BYTES_MAX} bytes.`);
  }
}
