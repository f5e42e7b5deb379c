import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';

/** A name of a region: what becomes part of the file is bounded by it. */
const REGION_PATTERN = /^[a-z]{2}(?:-[a-z]+)+-\d{1,2}$/;
const REGIONS_MAX = 100;

/** What the account has set, by region; kept in one small file of the folder. */
export class AccountSettings {
  readonly #path: string;
  readonly #encryptingRegions: Set<string>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, encryptingRegions: Iterable<string>) {
    this.#path = path;
    this.#encryptingRegions = new Set(encryptingRegions);
  }

  /** Reads them. @throws {EnvironmentError} when the file is damaged. */
  static async open(dir: string): Promise<AccountSettings> {
    const path = join(dir, 'account.json');
    try {
      const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
      if (isContents(parsed)) return new AccountSettings(path, parsed.encryptingRegions);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return new AccountSettings(path, []);
      if (!(error instanceof SyntaxError)) {
        throw new EnvironmentError(`Cannot read ${path}: ${systemReason(error)}.`, { cause: error });
      }
    }
    throw new EnvironmentError(`Cannot read ${path}: it is damaged.`);
  }

  /** Whether new snapshots of a region are encrypted although nobody asks for it. */
  isEncryptedByDefault(region: string): boolean {
    return this.#encryptingRegions.has(region);
  }

  /** Durable when it resolves. Regions that cannot be are not kept. */
  async setEncryptedByDefault(region: string, isEnabled: boolean): Promise<void> {
    if (isEnabled && REGION_PATTERN.test(region) && this.#encryptingRegions.size < REGIONS_MAX) {
      this.#encryptingRegions.add(region);
    } else this.#encryptingRegions.delete(region);
    const mine = this.#writing.then(() => this.#write());
    this.#writing = mine.catch(() => undefined);
    await mine;
  }

  async #write(): Promise<void> {
    const temporary = `${this.#path}.${randomUUID()}`;
    const contents = { encryptingRegions: [...this.#encryptingRegions] };
    await writeFile(temporary, `${JSON.stringify(contents)}\n`, { mode: 0o600, flush: true });
    await rename(temporary, this.#path);
  }
}

interface Contents {
  readonly encryptingRegions: readonly string[];
}

function isContents(value: unknown): value is Contents {
  if (typeof value !== 'object' || value === null) return false;
  const { encryptingRegions } = value as Partial<Record<keyof Contents, unknown>>;
  return Array.isArray(encryptingRegions) && encryptingRegions.every((name) => typeof name === 'string');
}
