import { mkdirSync, readdirSync, readFileSync, statSync, unlinkSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SNAPSHOT_ID_PATTERN, VOLUME_SIZE_MAX_GIB } from '../../ebs/constants.js';
import { Limiter } from '../../util/limiter.js';
import type { Logger } from '../../util/logger.js';
import { systemReason } from '../../util/system-reason.js';
import { PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE } from './cache-folder.js';
import { keyOf } from './index-entry.js';

/** Beside the blocks; another format would have another name. */
const CATALOG_FOLDER = 'snapshots-v1';

/** Those that were used longest ago are forgotten: their blocks then serve them alone. */
const ENTRIES_MAX = 1024;
const ENTRY_BYTES_MAX = 4096;
const NAME = /^[0-9a-f]{32}$/;

/** A snapshot of which a disk cache has blocks. */
export interface CatalogEntry {
  readonly service: string;
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  /** The same for snapshots that are known to be of one lineage. */
  readonly group: string;
  /** When its first block came, in milliseconds since 1970. */
  readonly sinceMs: number;
}

/**
 * Of which snapshots a disk cache has blocks, a small file for each: the index of the blocks has only hashes. Several
 * processes write it side by side, the last one wins. What is lost of it costs a fetch, and never gives a wrong block.
 */
export class SnapshotCatalog {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #writes = new Limiter(1);
  /** What was written last, by file name: of so many snapshots as the folder keeps. */
  readonly #written = new Map<string, string>();
  #hasFailed = false;

  /** @param folder of the blocks. */
  constructor(folder: string, logger: Logger) {
    this.#folder = join(folder, CATALOG_FOLDER);
    this.#logger = logger;
  }

  /** The snapshots of one service, in the order in which they came. Whatever is no entry is left out. */
  entriesOf(service: string): readonly CatalogEntry[] {
    try {
      return this.#read().filter((entry) => entry.service === service);
    } catch (error) {
      this.#fail(error);
      return [];
    }
  }

  /** Writes an entry, after a while. */
  record(entry: CatalogEntry): void {
    const name = keyOf('snapshot', entry.service, entry.snapshotId).toString('hex');
    const text = JSON.stringify(entry);
    if (this.#written.get(name) === text) return;
    this.#written.set(name, text);
    const [oldest] = this.#written.size > ENTRIES_MAX ? this.#written.keys() : [];
    if (oldest !== undefined) this.#written.delete(oldest);
    void this.#writes.run(() => this.#write(name, text)).catch((error: unknown) => this.#fail(error));
  }

  /** Resolves when everything is written. */
  settled(): Promise<void> {
    return this.#writes.idle();
  }

  #read(): readonly CatalogEntry[] {
    mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const found = readdirSync(this.#folder)
      .filter((name) => NAME.test(name))
      .flatMap((name) => {
        const path = join(this.#folder, name);
        const stats = statSync(path, { throwIfNoEntry: false });
        if (stats?.isFile() !== true || stats.size > ENTRY_BYTES_MAX) return [];
        const entry = decode(readFileSync(path, 'utf8'));
        return entry === undefined ? [] : [{ path, entry, usedMs: stats.mtimeMs }];
      });
    const byUse = found.sort((a, b) => b.usedMs - a.usedMs);
    for (const { path } of byUse.splice(ENTRIES_MAX)) unlinkSync(path);
    return byUse.map(({ entry }) => entry).sort((a, b) => a.sinceMs - b.sinceMs);
  }

  async #write(name: string, text: string): Promise<void> {
    const path = join(this.#folder, name);
    const temporary = `${path}.${process.pid}`;
    mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    await writeFile(temporary, text, { mode: PRIVATE_FILE_MODE });
    await rename(temporary, path);
  }

  #fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#logger.warn(
      'cannot keep the list of cached snapshots: the next start will not share their blocks',
      {
        reason: systemReason(error),
      },
    );
  }
}

/** Reads an entry; undefined for anything that is none. */
function decode(text: string): CatalogEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // half written by a process that was killed: as good as none
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { service, snapshotId, volumeSizeGib, group, sinceMs } = value as Readonly<Record<string, unknown>>;
  const isEntry =
    typeof service === 'string' &&
    typeof snapshotId === 'string' &&
    SNAPSHOT_ID_PATTERN.test(snapshotId) &&
    Number.isInteger(volumeSizeGib) &&
    Number(volumeSizeGib) >= 1 &&
    Number(volumeSizeGib) <= VOLUME_SIZE_MAX_GIB &&
    typeof group === 'string' &&
    Number.isFinite(sinceMs);
  if (!isEntry) return undefined;
  return { service, snapshotId, volumeSizeGib: Number(volumeSizeGib), group, sinceMs: Number(sinceMs) };
}
