import { EbsError } from '../../ebs/errors.js';
import { ExportRefusalKind, ExportRefusedError, type ExportListing } from '../../nbd/export-table.js';
import type { Clock, Timer } from '../../util/clock.js';
import { messageOf } from '../../util/errors.js';
import { Limiter } from '../../util/limiter.js';
import type { Logger } from '../../util/logger.js';
import type { ExportSupply, RegisteredExport, SuppliedExport } from '../export-registry.js';
import type { SnapshotSource } from '../export-spec.js';
import { isAllowed, isAllowedById, mayBeAllowed, type AllowRules } from './allow-rules.js';
import { parseDemand } from './demand.js';
import { refusalTextOf } from './refusal-text.js';
import { describeForList, type SnapshotCatalog } from './snapshot-catalog.js';

/** Each costs a List call; whoever asks for made-up ids waits in this line. */
const OPENINGS_AT_ONCE = 4;

/** How long a failure stands: clients ask two or three times in a row, and each would cost a call. */
const FAILURE_MS = 2000;

/** What on-demand exports are made of. */
export interface OnDemandOptions {
  /** Opens what was asked for by a name. */
  readonly open: (name: string, source: SnapshotSource, signal: AbortSignal) => Promise<RegisteredExport>;
  readonly catalog: SnapshotCatalog;
  readonly rules: AllowRules;
  /** Snapshots that are open at once, at most. */
  readonly openMax: number;
  /** How long one stays open that nobody uses. */
  readonly idleMs: number;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** A snapshot that is open, or being opened. */
interface OpenSnapshot {
  /** As it was asked for: its id, and what it is compared with. */
  readonly name: string;
  readonly opening: Promise<RegisteredExport>;
  readonly giveUp: AbortController;
  /** Clients that wait for it. */
  waiterCount: number;
  /** Clients that have it. */
  userCount: number;
  state: 'opening' | 'open' | 'failed';
  /** Once it is open. */
  registered: RegisteredExport | undefined;
  idle: Timer | undefined;
}

/** Any snapshot that the rules allow, by its id, compared with others if the name says so: opened when a client asks, and closed when nobody has used it for a while. */
export class OnDemandExports implements ExportSupply {
  readonly #options: OnDemandOptions;
  /** By their names, those that were used least recently first. */
  readonly #open = new Map<string, OpenSnapshot>();
  readonly #limiter = new Limiter(OPENINGS_AT_ONCE);
  readonly #closing = new Set<Promise<void>>();

  constructor(options: OnDemandOptions) {
    this.#options = options;
  }

  /** Snapshots that are open or being opened. */
  get openCount(): number {
    return this.#open.size;
  }

  get opened(): readonly SuppliedExport[] {
    return [...this.#open.values()].flatMap(({ registered, userCount }) =>
      registered === undefined ? [] : [{ registered, userCount }],
    );
  }

  async list(): Promise<readonly ExportListing[]> {
    const snapshots = await this.#options.catalog.list();
    return snapshots.map((snapshot) => ({
      name: snapshot.snapshotId,
      description: describeForList(snapshot),
    }));
  }

  /** @throws {ExportRefusedError} with a reason that says nothing of the server's own identity. */
  async supply<T>(name: string, signal: AbortSignal, use: (entry: RegisteredExport) => T): Promise<T> {
    const source = parseDemand(name);
    for (const snapshotId of [source.snapshotId, ...(source.since ?? [])]) await this.#check(snapshotId);
    signal.throwIfAborted();
    const entry = this.#open.get(name) ?? this.#begin(name, source);
    entry.waiterCount += 1;
    // A failure stands for its time, whoever asks again.
    if (entry.state === 'open') entry.idle?.cancel();
    const leave = (): void => this.#leave(entry);
    signal.addEventListener('abort', leave, { once: true });
    try {
      const registered = await entry.opening;
      signal.throwIfAborted();
      return use(registered);
    } finally {
      signal.removeEventListener('abort', leave);
      if (!signal.aborted) this.#leave(entry);
    }
  }

  async close(): Promise<void> {
    for (const entry of [...this.#open.values()]) this.#drop(entry);
    await Promise.all(this.#closing);
    await this.#options.catalog.close();
  }

  /** By its id where that is enough; else by what EC2 says of it. */
  async #check(snapshotId: string): Promise<void> {
    const { rules, catalog, logger } = this.#options;
    if (isAllowedById(rules, snapshotId)) return;
    const refusal = new ExportRefusedError(
      ExportRefusalKind.Policy,
      'this server does not serve that snapshot: its --allow rules do not name it',
    );
    if (!mayBeAllowed(rules, snapshotId)) throw refusal;
    const found = await catalog.find(snapshotId).catch((error: unknown) => {
      logger.error('a snapshot cannot be held against the --allow rules', {
        snapshotId,
        error: messageOf(error),
      });
      throw new ExportRefusedError(
        ExportRefusalKind.Unavailable,
        "it cannot be found out whether this snapshot is allowed: see the server's log",
        { cause: error },
      );
    });
    // Whether it exists is not told to those who may not have it.
    if (found === undefined || !isAllowed(rules, found)) throw refusal;
  }

  #begin(name: string, source: SnapshotSource): OpenSnapshot {
    this.#makeRoom();
    const { open, logger, clock } = this.#options;
    const giveUp = new AbortController();
    const startMs = clock.nowMs();
    const opening = this.#limiter
      .run(() => open(name, source, giveUp.signal), undefined, giveUp.signal)
      .then(
        (opened): RegisteredExport => {
          const durationMs = Math.round(clock.nowMs() - startMs);
          logger.info('a snapshot was opened on demand', { snapshotId: name, durationMs });
          entry.state = 'open';
          entry.registered = { ...opened, usersChanged: (count) => this.#usersChanged(entry, count) };
          return entry.registered;
        },
        (error: unknown) => {
          entry.state = 'failed';
          entry.idle = clock.setTimer(FAILURE_MS, () => this.#drop(entry));
          if (!giveUp.signal.aborted) {
            logger.warn('a snapshot cannot be opened on demand', {
              snapshotId: name,
              error: messageOf(error),
            });
          }
          const kind = error instanceof EbsError ? error.kind : undefined;
          throw new ExportRefusedError(ExportRefusalKind.Unavailable, refusalTextOf(kind), { cause: error });
        },
      );
    // Everybody who waits is told; when nobody does any more, nobody needs to be.
    opening.catch(() => undefined);
    const entry: OpenSnapshot = {
      name,
      opening,
      giveUp,
      waiterCount: 0,
      userCount: 0,
      state: 'opening',
      registered: undefined,
      idle: undefined,
    };
    this.#open.set(name, entry);
    return entry;
  }

  /** Closes one that nobody uses when there are as many as may be. @throws {ExportRefusedError} when all are in use. */
  #makeRoom(): void {
    const { openMax, logger } = this.#options;
    if (this.#open.size < openMax) return;
    const unused = [...this.#open.values()].find(
      ({ waiterCount, userCount }) => waiterCount === 0 && userCount === 0,
    );
    if (unused !== undefined) {
      this.#drop(unused);
      return;
    }
    logger.warn('a snapshot is not opened: as many as may be are in use', { anyMax: openMax });
    throw new ExportRefusedError(
      ExportRefusalKind.Unavailable,
      `the server has ${openMax} snapshots in use, as many as it opens at once (--any-max)`,
    );
  }

  /** @param count of one client: 1 when it begins, 0 when it has ended. */
  #usersChanged(entry: OpenSnapshot, count: number): void {
    entry.userCount += count === 0 ? -1 : 1;
    if (this.#open.delete(entry.name)) this.#open.set(entry.name, entry);
    this.#rest(entry);
  }

  #leave(entry: OpenSnapshot): void {
    entry.waiterCount -= 1;
    this.#rest(entry);
  }

  /** When nobody uses it: it is given up while it is being opened, and closed after a while when it is open. */
  #rest(entry: OpenSnapshot): void {
    if (entry.waiterCount > 0 || entry.userCount > 0 || this.#open.get(entry.name) !== entry) return;
    if (entry.state === 'failed') return;
    if (entry.state === 'opening') {
      this.#drop(entry);
      return;
    }
    entry.idle?.cancel();
    entry.idle = this.#options.clock.setTimer(this.#options.idleMs, () => this.#drop(entry));
  }

  #drop(entry: OpenSnapshot): void {
    if (this.#open.get(entry.name) !== entry) return;
    this.#open.delete(entry.name);
    entry.idle?.cancel();
    entry.giveUp.abort();
    const closing = this.#closeWhenOpen(entry).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  async #closeWhenOpen({ opening, name }: OpenSnapshot): Promise<void> {
    const { logger } = this.#options;
    // Where it could not be opened, the log and those who waited have been told.
    const registered = await opening.catch(() => undefined);
    if (registered === undefined) return;
    try {
      await registered.device.close?.();
      logger.info('a snapshot that nobody used was closed', { snapshotId: name });
    } catch (error) {
      logger.error('a snapshot cannot be closed', { snapshotId: name, error: messageOf(error) });
    }
  }
}
