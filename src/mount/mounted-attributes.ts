import { Batches } from '../util/batches.js';
import type { FileAttribute } from '../files/filesystem.js';
import { FileError, FileErrorCode } from '../files/file-error.js';
import { parseAttributeText } from './attribute-text.js';
import { runProgram } from './program.js';

/** Files that getfattr is asked about at once: what they have, 64 KiB each as a rule, has to fit in memory. */
const FILES_AT_ONCE_MAX = 64;
/** What xargs ends with when there is no such program. */
const NO_PROGRAM = 127;

/** Reads the extended attributes of files of this machine by getfattr(1): Node.js has no call for it. */
export class MountedAttributes {
  #isMissing = false;
  readonly #batches = new Batches<Buffer, readonly FileAttribute[] | undefined>(
    (places) => this.#readAll(places),
    FILES_AT_ONCE_MAX,
  );

  /**
   * Those of one file; links are not followed.
   *
   * @returns undefined where getfattr is not installed.
   * @throws {FileError} `EIO` where they cannot be read.
   */
  async read(place: Buffer): Promise<readonly FileAttribute[] | undefined> {
    return this.#isMissing ? undefined : this.#batches.add(place);
  }

  async #readAll(places: readonly Buffer[]): Promise<readonly (readonly FileAttribute[] | undefined)[]> {
    // By its standard input, as arguments cannot have bytes that are no UTF-8.
    const { status, stdout, complaint } = await runProgram(
      'xargs',
      ['-0', 'getfattr', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', '--'],
      places.map((place) => `${place.toString('latin1')}\0`).join(''),
    );
    if (status === undefined || status === NO_PROGRAM) {
      this.#isMissing = true;
      return places.map(() => undefined);
    }
    if (status !== 0) {
      throw new FileError(FileErrorCode.Damaged, `Cannot read extended attributes: ${complaint}.`);
    }
    const found = new Map(
      parseAttributeText(stdout).map(({ path, attributes }) => [path.toString('latin1'), attributes]),
    );
    return places.map((place) => found.get(place.toString('latin1')) ?? []);
  }
}
