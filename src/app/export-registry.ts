import type { BlockDevice } from '../device/block-device.js';
import type { ExportLease, ExportListing, ExportTable } from '../nbd/export-table.js';
import type { ExportTraffic } from '../nbd/traffic.js';
import { ExportRefusalKind, ExportRefusedError } from '../nbd/export-table.js';
import { assert } from '../util/assert.js';
import { messageOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import type { Fork } from '../writer/fork.js';

/** One export of the registry. */
export interface RegisteredExport {
  readonly name: string;
  readonly device: BlockDevice;
  /** Where the requests of its clients are counted. Default: nobody sees them. */
  readonly traffic?: ExportTraffic;
  /** Of a disk that can be written: what is behind the device, for whoever looks at it. */
  readonly fork?: Fork;
  /**
   * Called when a client begins or ends to use it, with the number of those that do.
   *
   * @param saidGoodbye whether it ended as clients should, rather than vanish.
   */
  readonly usersChanged?: (userCount: number, saidGoodbye: boolean) => void;
}

/** An export that was opened because somebody asked for it. */
export interface SuppliedExport {
  readonly registered: RegisteredExport;
  readonly userCount: number;
}

/** Exports that are not there from the start, but opened when somebody asks for them. */
export interface ExportSupply {
  /** What LIST shows beside the exports that are there. It never fails. */
  list(signal: AbortSignal): Promise<readonly ExportListing[]>;
  /**
   * Opens an export, calls `use` while it is certain to be open, and gives what that gives.
   *
   * @throws {ExportRefusedError}
   */
  supply<T>(name: string, signal: AbortSignal, use: (entry: RegisteredExport) => T): Promise<T>;
  /** Those that are open now, with the number of their clients. */
  readonly opened: readonly SuppliedExport[];
  /** Lets go of everything. Call it when no connection is left. */
  close(): Promise<void>;
}

/** What is there, and how many use it. */
interface Entry {
  readonly registered: RegisteredExport;
  userCount: number;
  /** No new client gets it: it is closed when the last one goes. */
  isRetired: boolean;
}

/**
 * The exports of one server, which may change while it runs. The empty name, which clients send when the user named no
 * export, stands for the first one.
 */
export class ExportRegistry implements ExportTable {
  #entries: ReadonlyMap<string, Entry> = new Map();
  /** Those that were taken away and still have clients. */
  readonly #retired = new Set<Entry>();
  readonly #supply: ExportSupply | undefined;
  readonly #logger: Logger;
  #leaseCount = 0;

  /**
   * @param exports with distinct names that are not empty; at least one, unless there is a supply.
   * @param supply default: none; names that are not there are refused.
   * @param logger default: silent.
   */
  constructor(exports: readonly RegisteredExport[], supply?: ExportSupply, logger: Logger = silentLogger) {
    assert(exports.length > 0 || supply !== undefined, 'a server needs an export');
    this.#supply = supply;
    this.#logger = logger;
    this.#entries = entriesOf(exports, new Map());
  }

  /** Connections that use a device now. */
  get leaseCount(): number {
    return this.#leaseCount;
  }

  /** The exports that are there, in their order. */
  get exports(): readonly RegisteredExport[] {
    return [...this.#entries.values()].map(({ registered }) => registered);
  }

  /** The exports that are there, and after them those that were opened because somebody asked for them. */
  get allExports(): readonly RegisteredExport[] {
    const supplied = this.#supply?.opened ?? [];
    const names = new Set(this.#entries.keys());
    return [
      ...this.exports,
      ...supplied.map(({ registered }) => registered).filter(({ name }) => !names.has(name)),
    ];
  }

  /** Clients that use an export now. */
  userCountOf(name: string): number {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry.userCount;
    const supplied = this.#supply?.opened.find(({ registered }) => registered.name === name);
    return supplied?.userCount ?? 0;
  }

  list(signal: AbortSignal = NEVER): readonly ExportListing[] | Promise<readonly ExportListing[]> {
    const here = this.exports.map(({ name, device }) => ({
      name,
      ...(device.description === undefined ? {} : { description: device.description }),
    }));
    if (this.#supply === undefined) return here;
    return this.#supply
      .list(signal)
      .then((more) => [...here, ...more.filter(({ name }) => !this.#entries.has(name))]);
  }

  /** @throws {ExportRefusedError} for a name that is not there; the reason is meant for the client's user. */
  acquire(name: string, { signal = NEVER }: { readonly signal?: AbortSignal } = {}): Promise<ExportLease> {
    const found = name === '' ? this.#entries.values().next().value : this.#entries.get(name);
    if (found !== undefined) return Promise.resolve(this.#lease(found));
    if (this.#supply === undefined || name === '') {
      const reason =
        name === '' ? 'there is no default export: ask for one by its name' : 'no export of this name';
      return Promise.reject(new ExportRefusedError(ExportRefusalKind.Unknown, reason));
    }
    return this.#supply.supply(name, signal, (registered) =>
      this.#lease({ registered, userCount: 0, isRetired: false }),
    );
  }

  /**
   * Puts other exports in the place of those that are there. One that is the same object goes on as it was; one that is no
   * longer there keeps the clients that it has, gets no new ones, and is closed when the last one goes. What cannot be
   * closed is told in the log.
   */
  async replace(exports: readonly RegisteredExport[]): Promise<void> {
    assert(exports.length > 0 || this.#supply !== undefined, 'a server needs an export');
    const before = this.#entries;
    this.#entries = entriesOf(exports, before);
    const kept = new Set(this.#entries.values());
    const gone = [...before.values()].filter((entry) => !kept.has(entry));
    for (const entry of gone) {
      entry.isRetired = true;
      this.#retired.add(entry);
    }
    for (const entry of gone) {
      if (entry.userCount === 0) await this.#closeRetired(entry);
    }
  }

  /** Closes every device. Call it when no connection is left. @throws of the first one that cannot be closed, when all are. */
  async close(): Promise<void> {
    const devices = [...this.#entries.values(), ...this.#retired].map(({ registered }) => registered.device);
    this.#retired.clear();
    const failures: unknown[] = [];
    for (const holder of [...new Set(devices), this.#supply]) {
      try {
        await holder?.close?.();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #lease(entry: Entry): ExportLease {
    const { name, device, traffic } = entry.registered;
    this.#count(entry, 1, false);
    let released = false;
    return {
      name,
      device,
      ...(traffic === undefined ? {} : { traffic }),
      release: (saidGoodbye = false) => {
        assert(!released, `the lease on "${name}" was released twice`);
        released = true;
        this.#count(entry, -1, saidGoodbye);
      },
    };
  }

  #count(entry: Entry, by: number, saidGoodbye: boolean): void {
    this.#leaseCount += by;
    entry.userCount += by;
    entry.registered.usersChanged?.(entry.userCount, saidGoodbye);
    if (entry.isRetired && entry.userCount === 0) void this.#closeRetired(entry);
  }

  /** One device may be there under several names: the last of them closes it. Never rejects. */
  async #closeRetired(entry: Entry): Promise<void> {
    if (!this.#retired.delete(entry)) return;
    const { name, device } = entry.registered;
    const others = [...this.#entries.values(), ...this.#retired];
    if (others.some(({ registered }) => registered.device === device)) return;
    try {
      await device.close?.();
    } catch (error) {
      this.#logger.error('an export that was taken away cannot be closed', {
        export: name,
        error: messageOf(error),
      });
    }
  }
}

const NEVER = new AbortController().signal;

/** By their names; those that were there before are the same entries, with the clients that they have. */
function entriesOf(
  exports: readonly RegisteredExport[],
  before: ReadonlyMap<string, Entry>,
): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const registered of exports) {
    const { name } = registered;
    assert(name !== '' && !entries.has(name), 'export names are distinct and not empty');
    const known = before.get(name);
    const isSame = known?.registered === registered;
    entries.set(name, isSame ? known : { registered, userCount: 0, isRetired: false });
  }
  return entries;
}
