import { SNAPSHOT_ID_PATTERN, VOLUME_SIZE_MAX_GIB } from '../ebs/constants.js';
import { UsageError } from '../util/errors.js';
import { GIB, parseSizeBytes } from '../util/units.js';

/** Where the bytes of an export come from. */
export type ExportSource =
  | { readonly kind: 'snapshot'; readonly snapshotId: string }
  | { readonly kind: 'memory'; readonly sizeBytes: number }
  | ForkSource;

/** A disk that can be written, staged under the name of the export. */
export type ForkSource =
  | { readonly kind: 'fork'; readonly snapshotId: string }
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
const SOURCES = 'snap-ID, fork:snap-ID, blank:SIZE or memory:SIZE';

/**
 * Reads one EXPORT argument: `snap-...`, `NAME=snap-...`, `NAME=fork:snap-...`, `NAME=blank:SIZE` or `NAME=memory:SIZE`.
 *
 * @throws {UsageError} with what is wrong and what is expected.
 */
export function parseExportSpec(text: string): ExportSpec {
  const separator = text.indexOf('=');
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
  if (source.startsWith('snap-')) return { kind: 'snapshot', snapshotId: checkSnapshotId(source) };
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
    return { kind: 'fork', snapshotId: checkSnapshotId(source.slice('fork:'.length)) };
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
