import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, link, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';

/** The first line of an emulator's folder. A program that finds another version leaves the folder alone. */
const FORMAT = JSON.stringify({ format: 'snapnbd-emulator', version: 1 });

/** Where everything of one emulator lies. docs/EMULATOR.md describes the files. */
export class StoreLayout {
  /** Absolute path of the folder. */
  readonly dir: string;

  constructor(dir: string) {
    this.dir = resolve(dir);
  }

  get formatFile(): string {
    return join(this.dir, 'format.json');
  }

  /** The secret that block tokens and page tokens are made with. */
  get keyFile(): string {
    return join(this.dir, 'token-key');
  }

  /** In which boot of the machine a server writes here, see boot.ts. */
  get bootFile(): string {
    return join(this.dir, 'boot-id');
  }

  /** Snapshots, one folder each; a snapshot exists when its folder has this name. */
  get snapshotsDir(): string {
    return join(this.dir, 'snapshots');
  }

  /** Snapshots that are being made; never read by anybody but their maker. */
  get temporaryDir(): string {
    return join(this.dir, 'tmp');
  }

  snapshotDir(snapshotId: string): string {
    return join(this.snapshotsDir, snapshotId);
  }

  metadataFile(snapshotId: string): string {
    return join(this.snapshotDir(snapshotId), SnapshotFile.Metadata);
  }

  indexFile(snapshotId: string): string {
    return join(this.snapshotDir(snapshotId), SnapshotFile.Index);
  }

  blocksFile(snapshotId: string): string {
    return join(this.snapshotDir(snapshotId), SnapshotFile.Blocks);
  }
}

/** The files in a snapshot's folder. */
export const SnapshotFile = {
  /** What is known about it, as JSON. */
  Metadata: 'snapshot.json',
  /** Contents of its own blocks, in slots of 524,288 bytes. */
  Blocks: 'blocks',
  /** Which block is in which slot, while it is pending. */
  Records: 'records',
  /** Where each listed block is, once it is complete. */
  Index: 'index',
} as const;

/**
 * Opens the folder of an emulator, and makes it (0700) where there is none.
 *
 * @throws {EnvironmentError} when it is something else's folder, of another version, or cannot be used.
 */
export async function openLayout(dir: string): Promise<StoreLayout> {
  const layout = new StoreLayout(dir);
  try {
    await mkdir(layout.dir, { recursive: true, mode: 0o700 });
    if (!(await hasFormat(layout))) {
      await refuseForeign(layout);
      await writeFormat(layout);
    }
    await mkdir(layout.snapshotsDir, { recursive: true, mode: 0o700 });
    await mkdir(layout.temporaryDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(`Cannot use the emulator folder ${layout.dir}: ${systemReason(error)}.`, {
      cause: error,
    });
  }
  return layout;
}

async function hasFormat(layout: StoreLayout): Promise<boolean> {
  let text: string;
  try {
    text = await readFile(layout.formatFile, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
  if (text.trim() !== FORMAT) {
    throw new EnvironmentError(
      `Cannot use the emulator folder ${layout.dir}: its format is ${text.trim().slice(0, 80)}, this program knows ${FORMAT}.`,
    );
  }
  return true;
}

async function refuseForeign(layout: StoreLayout): Promise<void> {
  const names = (await readdir(layout.dir)).filter((name) => !name.startsWith('.format.'));
  if (names.length === 0) return;
  // Another process may have made it between the two looks.
  if (await hasFormat(layout)) return;
  throw new EnvironmentError(
    `Cannot use ${layout.dir} as an emulator folder: it holds other files (${names.slice(0, 3).join(', ')}). Name an empty or a new folder.`,
  );
}

/** Linked into place, so that of several processes one wins and none sees half a file. */
async function writeFormat(layout: StoreLayout): Promise<void> {
  const temporary = join(layout.dir, `.format.${randomUUID()}`);
  await writeFile(temporary, `${FORMAT}\n`, { mode: 0o600 });
  try {
    await link(temporary, layout.formatFile);
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}
