import { FileError } from '../../files/file-error.js';
import type { FileAttribute, FileStat, Filesystem } from '../../files/filesystem.js';
import { attributeText, type FileAttributes } from '../../mount/attribute-text.js';
import { runProgram } from '../../mount/program.js';
import { Batches } from '../../util/batches.js';
import { EnvironmentError, messageOf } from '../../util/errors.js';

/** What one setfattr gets to do. */
const FILES_AT_ONCE_MAX = 64;
const INSTALL = 'install getfattr and setfattr (Debian, Fedora: attr)';

/**
 * Attributes that belong to a file wherever it is. The others are how a filesystem shows what is its own (`btrfs.`,
 * `system.ntfs_`), or hold for one place alone: those that `cp --preserve=xattr` leaves out by xattr.conf(5).
 */
const KEPT = /^(user\.|trusted\.(?!SGI_|overlay\.)|security\.(?!evm$)|system\.posix_acl_(access|default)$)/;
/** Attributes that only root may set. */
const ROOT_ONLY = /^(trusted|security)\./;

/**
 * Gives files that are copied their extended attributes, by setfattr(1): Node.js has no call for it. What cannot be
 * kept keeps no file from being copied; it is counted, and told at the end.
 */
export class AttributeKeeper {
  readonly #filesystem: Filesystem;
  readonly #isRoot: boolean;
  #lostCount = 0;
  /** Why, of the first file. */
  #reason = '';
  #isMissing = false;
  readonly #batches = new Batches<FileAttributes, undefined>(
    (files) => this.#setAll(files),
    FILES_AT_ONCE_MAX,
  );

  constructor(filesystem: Filesystem, isRoot: boolean) {
    this.#filesystem = filesystem;
    this.#isRoot = isRoot;
  }

  /** Files that have not, or not all of, the attributes that they have in the snapshot. */
  get lostCount(): number {
    return this.#lostCount;
  }

  /** What was not kept and why, in one line; undefined where everything was. */
  get summary(): string | undefined {
    return this.#lostCount === 0
      ? undefined
      : `Extended attributes (or access control lists) of ${this.#lostCount} files were not all kept: ${this.#reason}.`;
  }

  /** Gives what was just written the attributes of its file in the snapshot. It changes the time of change alone. */
  async keep(stat: FileStat, written: Buffer, signal: AbortSignal | undefined): Promise<void> {
    const options = signal === undefined ? {} : { signal };
    try {
      const found = await this.#filesystem.readAttributes(stat, options);
      if (found === undefined) {
        this.#lose(`they cannot be read: ${INSTALL}`);
        return;
      }
      const kept = found.filter(({ name }) => KEPT.test(name.toString('latin1')));
      const attributes = this.#isRoot ? kept : kept.filter(({ name }) => !isRootOnly(name));
      if (attributes.length < kept.length) {
        this.#lose(`only root can set ${kept.find(({ name }) => isRootOnly(name))?.name.toString()}`);
      }
      if (attributes.length > 0) await this.#set(written, attributes, attributes.length === kept.length);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.#lose(messageOf(error).replace(/\.$/, ''));
    }
  }

  async #set(path: Buffer, attributes: readonly FileAttribute[], isCounted: boolean): Promise<void> {
    try {
      if (this.#isMissing) throw new EnvironmentError(INSTALL);
      await this.#batches.add({ path, attributes });
    } catch (error) {
      if (!(error instanceof EnvironmentError)) throw error;
      if (isCounted) this.#lose(messageOf(error));
    }
  }

  async #setAll(files: readonly FileAttributes[]): Promise<readonly undefined[]> {
    const { status, complaint } = await runProgram('setfattr', ['-h', '--restore=-'], attributeText(files));
    if (status === undefined) {
      this.#isMissing = true;
      throw new EnvironmentError(INSTALL);
    }
    // "setfattr: PATH: Operation not supported"
    if (status !== 0) throw new EnvironmentError(complaint.replace(/^.*: /, ''));
    return files.map(() => undefined);
  }

  #lose(reason: string): void {
    this.#lostCount += 1;
    this.#reason ||= reason;
  }
}

function isRootOnly(name: Buffer): boolean {
  return ROOT_ONLY.test(name.toString('latin1'));
}
