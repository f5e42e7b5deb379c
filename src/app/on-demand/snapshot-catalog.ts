import { EbsErrorKind, isEbsError } from '../../ebs/errors.js';
import type { Ec2Api, SnapshotDescription } from '../../ec2/ec2-api.js';
import { findSnapshots } from '../../ec2/find-snapshots.js';
import type { Clock } from '../../util/clock.js';
import { messageOf, SnapnbdError } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';
import { isAllowed, type AllowRules, type OwnedSnapshot } from './allow-rules.js';

/** What a LIST answer may hold: a few hundred kilobytes. The newest ones are shown. */
export const LISTED_MAX = 1000;

/** How long a list is good: clients ask again and again, and a new snapshot shows soon. */
const FRESH_MS = 10_000;

/** What was asked for one by one and is remembered that long. */
const REMEMBERED_MAX = 1000;

/** What the catalog works with. */
export interface CatalogOptions {
  /** Opens EC2, when it is first needed. */
  readonly open: () => Promise<Ec2Api>;
  readonly rules: AllowRules;
  readonly logger: Logger;
  readonly clock: Clock;
}

interface Remembered {
  readonly atMs: number;
  readonly snapshot: Promise<OwnedSnapshot | undefined>;
}

/** The snapshots that the account has and the rules allow, as EC2 describes them; asked for at most every few seconds. */
export class SnapshotCatalog {
  readonly #options: CatalogOptions;
  #api: Promise<Ec2Api> | undefined;
  #listing:
    { readonly atMs: number; readonly snapshots: Promise<readonly SnapshotDescription[]> } | undefined;
  readonly #remembered = new Map<string, Remembered>();
  #isFailing = false;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  /** The newest first, {@link LISTED_MAX} at most. Empty when EC2 cannot be asked, of which the log tells once. */
  list(): Promise<readonly SnapshotDescription[]> {
    const nowMs = this.#options.clock.nowMs();
    if (this.#listing === undefined || nowMs - this.#listing.atMs >= FRESH_MS) {
      this.#listing = { atMs: nowMs, snapshots: this.#read() };
    }
    return this.#listing.snapshots;
  }

  /**
   * One snapshot, or undefined when there is none of that id.
   *
   * @throws {SnapnbdError} when EC2 cannot be asked.
   */
  find(snapshotId: string): Promise<OwnedSnapshot | undefined> {
    const nowMs = this.#options.clock.nowMs();
    const known = this.#remembered.get(snapshotId);
    if (known !== undefined && nowMs - known.atMs < FRESH_MS) return known.snapshot;
    this.#remembered.delete(snapshotId);
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size >= REMEMBERED_MAX && oldest !== undefined) this.#remembered.delete(oldest);
    const snapshot = this.#describe(snapshotId);
    this.#remembered.set(snapshotId, { atMs: nowMs, snapshot });
    return snapshot;
  }

  async close(): Promise<void> {
    // Where it could not be opened, whoever asked for it has been told.
    const api = await this.#api?.catch(() => undefined);
    api?.close();
  }

  #open(): Promise<Ec2Api> {
    this.#api ??= this.#options.open().catch((error: unknown) => {
      // Credentials or the package may be there the next time.
      this.#api = undefined;
      throw error;
    });
    return this.#api;
  }

  async #read(): Promise<readonly SnapshotDescription[]> {
    const { rules, logger } = this.#options;
    try {
      const api = await this.#open();
      const found = await findSnapshots(api, {
        owners: ['self'],
        filters: [{ name: 'status', values: ['completed'] }],
        countMax: LISTED_MAX,
        accept: (description) =>
          description.storageTier === 'standard' && isAllowed(rules, { description, isOwn: true }),
      });
      this.#isFailing = false;
      return found;
    } catch (error) {
      if (!(error instanceof SnapnbdError)) throw error;
      if (!this.#isFailing) {
        logger.warn(
          'the snapshots of the account cannot be listed; they can still be asked for by their ids',
          {
            error: messageOf(error),
          },
        );
      }
      this.#isFailing = true;
      return [];
    }
  }

  async #describe(snapshotId: string): Promise<OwnedSnapshot | undefined> {
    const api = await this.#open();
    try {
      const own = await api.describeSnapshots({ snapshotIds: [snapshotId], owners: ['self'] });
      const [mine] = own.snapshots;
      if (mine !== undefined) return { description: mine, isOwn: true };
      const [other] = (await api.describeSnapshots({ snapshotIds: [snapshotId] })).snapshots;
      return other === undefined ? undefined : { description: other, isOwn: false };
    } catch (error) {
      if (isEbsError(error, EbsErrorKind.NotFound)) return undefined;
      throw error;
    }
  }
}

/** One line for whoever chooses among snapshots. */
export function describeForList(snapshot: SnapshotDescription): string {
  const { volumeId, volumeSizeGib, startTimeMs, description, tags } = snapshot;
  const name = new Map(Object.entries(tags)).get('Name');
  const parts = [
    volumeId ?? 'no volume',
    `${volumeSizeGib} GiB`,
    new Date(startTimeMs).toISOString().replace(/\.\d+Z$/, 'Z'),
    ...(name === undefined ? [] : [`Name=${name}`]),
    ...(description === '' ? [] : [description]),
  ];
  return parts.join(', ').replace(/[\p{Control}\u2028\u2029]/gu, ' ');
}
