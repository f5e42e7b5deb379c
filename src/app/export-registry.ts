import type { BlockDevice } from '../device/block-device.js';
import type { ExportLease, ExportListing, ExportTable } from '../nbd/export-table.js';
import type { ExportTraffic } from '../nbd/traffic.js';
import { ExportRefusalKind, ExportRefusedError } from '../nbd/export-table.js';
import { assert } from '../util/assert.js';

/** One export of the registry. */
export interface RegisteredExport {
  readonly name: string;
  readonly device: BlockDevice;
  /** Where the requests of its clients are counted. Default: nobody sees them. */
  readonly traffic?: ExportTraffic;
  /**
   * Called when a client begins or ends to use it, with the number of those that do.
   *
   * @param saidGoodbye whether it ended as clients should, rather than vanish.
   */
  readonly usersChanged?: (userCount: number, saidGoodbye: boolean) => void;
}

/**
 * The exports of one server, all open from the start. The empty name, which clients send when the user named no
 * export, stands for the first one.
 */
export class ExportRegistry implements ExportTable {
  readonly #exports: ReadonlyMap<string, RegisteredExport>;
  readonly #default: RegisteredExport;
  #leaseCount = 0;
  readonly #userCounts = new Map<string, number>();

  /** @param exports at least one, with distinct names that are not empty. */
  constructor(exports: readonly RegisteredExport[]) {
    const first = exports[0];
    assert(first !== undefined, 'a server needs an export');
    this.#default = first;
    this.#exports = new Map(exports.map((entry) => [entry.name, entry]));
    assert(
      this.#exports.size === exports.length && !this.#exports.has(''),
      'export names are distinct and not empty',
    );
  }

  /** Connections that use a device now. */
  get leaseCount(): number {
    return this.#leaseCount;
  }

  /** Clients that use an export now. */
  userCountOf(name: string): number {
    return this.#userCounts.get(name) ?? 0;
  }

  list(): readonly ExportListing[] {
    return [...this.#exports.values()].map(({ name, device }) => ({
      name,
      ...(device.description === undefined ? {} : { description: device.description }),
    }));
  }

  /** @throws {ExportRefusedError} for a name that is not there; the reason is meant for the client's user. */
  acquire(name: string): Promise<ExportLease> {
    const found = name === '' ? this.#default : this.#exports.get(name);
    if (found === undefined) {
      return Promise.reject(new ExportRefusedError(ExportRefusalKind.Unknown, 'no export of this name'));
    }
    this.#count(found, 1, false);
    let released = false;
    return Promise.resolve({
      name: found.name,
      device: found.device,
      ...(found.traffic === undefined ? {} : { traffic: found.traffic }),
      release: (saidGoodbye = false) => {
        assert(!released, `the lease on "${found.name}" was released twice`);
        released = true;
        this.#count(found, -1, saidGoodbye);
      },
    });
  }

  #count(entry: RegisteredExport, by: number, saidGoodbye: boolean): void {
    this.#leaseCount += by;
    const userCount = (this.#userCounts.get(entry.name) ?? 0) + by;
    this.#userCounts.set(entry.name, userCount);
    entry.usersChanged?.(userCount, saidGoodbye);
  }

  /** Closes every device. Call it when no connection is left. */
  async close(): Promise<void> {
    for (const { device } of this.#exports.values()) await device.close?.();
  }
}
