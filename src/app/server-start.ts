import { NbdServer } from '../nbd/server.js';
import type { ApiUsage } from '../ebs/cost.js';
import { BlockCache } from '../snapshot/block-cache.js';
import { ComparedSnapshot } from '../snapshot/changed/compared-snapshot.js';
import { SnapshotDevice } from '../snapshot/snapshot-device.js';
import { systemClock, type Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { connectApi } from './api-connection.js';
import { ExportChanger, type ExportChanges } from './export-changing.js';
import { openExports } from './export-opening.js';
import type { ExportSpec } from './export-spec.js';
import { createSupply } from './on-demand/create-supply.js';
import { openDiskStore } from './disk-store.js';
import { ExportRegistry } from './export-registry.js';
import { hydrateAll } from './hydrating.js';
import { createProfiles } from './profile-keeping.js';
import { createLineage } from './lineage-sharing.js';
import { addressesToListenOn, isOpenToMachine, listenOnAll, loadTls } from './listening.js';
import type { Page, PageParts } from './observing/page.js';
import { DEFAULT_CACHE_MEMORY_BYTES, type HttpSettings, type ServeSettings } from './settings.js';

/** A server that is ready. */
export interface RunningServer {
  /** One for each export and address, by address. */
  readonly uris: readonly string[];
  /** What calls of the EBS direct APIs were made, and what they cost; undefined where none can be. */
  usage(): ApiUsage | undefined;
  /**
   * Takes no new clients, finishes what is in flight, disconnects, and lets go of everything.
   *
   * @param timeoutMs after which clients that are left are cut. Default: 10,000.
   */
  drain(timeoutMs?: number): Promise<void>;
  /** Serves other exports from now on, see {@link ExportChanger.change}. */
  changeExports(specs: readonly ExportSpec[]): Promise<ExportChanges>;
  /**
   * Reads certificates and keys again, for clients to come.
   *
   * @throws {EnvironmentError} when that fails; what was there before stays in use.
   */
  reload(): Promise<void>;
  /** Cuts everything. */
  close(): Promise<void>;
}

/** What a server is given beside its settings. */
export interface ServerSurroundings {
  /** Default: silent. */
  readonly logger?: Logger;
  /** Gets a line for each request of a client. Default: none are written. */
  readonly trace?: Logger | undefined;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** Gives up starting. */
  readonly signal?: AbortSignal;
}

/**
 * Opens every export, then listens, in that order: who can connect can read.
 *
 * @throws {UsageError} for an address that would show disks to the network in the clear.
 * @throws {EnvironmentError} for an address that cannot be listened on, or missing region, credentials or keys.
 * @throws {EbsError} when a snapshot cannot be opened.
 * @throws the signal's reason when it aborts first.
 */
export async function startServer(
  settings: ServeSettings,
  { logger = silentLogger, trace, clock = systemClock, signal }: ServerSurroundings = {},
): Promise<RunningServer> {
  // What has been taken, to be given back in the opposite order.
  const releases: (() => Promise<void>)[] = [];
  const release = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const giveBack of releases.splice(0).reverse()) {
      await giveBack().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    // What can be found wrong without a call to EBS is found before the first one.
    const { listen = {} } = settings;
    const addresses = addressesToListenOn(listen, { environment: process.env, pid: process.pid });
    const tls = listen.tls === undefined ? undefined : await loadTls(listen.tls);

    const shown = { logger, clock, isOpenToMachine: isOpenToMachine(addresses, listen.tls) };
    const page = settings.http === undefined ? undefined : await showPage(settings.http, shown);
    if (page !== undefined) releases.push(() => page.service.close());

    const { onDemand } = settings;
    const needsApi =
      onDemand !== undefined || settings.exports.some(({ source }) => source.kind !== 'memory');
    const canMakeEmulator = settings.exports.some(({ source }) => source.kind === 'blank');
    const context = { logger, clock, canMakeEmulator };
    const connection = needsApi ? await connectApi(settings.api ?? {}, context) : undefined;
    if (connection !== undefined) releases.push(() => connection.close());
    const disk = await openDiskStore(settings, { logger, clock });
    if (disk !== undefined) releases.push(() => disk.cache.close());

    const cache = new BlockCache(settings.cacheMemoryBytes ?? DEFAULT_CACHE_MEMORY_BYTES);
    const lineage = createLineage(settings, { connection, cache, disk, clock, logger });
    releases.push(() => Promise.resolve(lineage?.close()));
    const profiles = createProfiles(settings, { lineage, clock, logger });
    const opening = {
      connection,
      cache,
      disk,
      lineage,
      profiles,
      readsAhead: settings.readsAhead,
      hasOneBitmap: settings.hasOneBitmap,
      logger,
      clock,
      signal: undefined,
      ...(settings.forks === undefined ? {} : { forks: settings.forks }),
    };
    const exports = await openExports(settings.exports, { ...opening, signal });
    const supply =
      onDemand === undefined || connection === undefined
        ? undefined
        : createSupply(onDemand, { ...opening, connection });
    const registry = new ExportRegistry(exports, supply, logger);
    const changer = new ExportChanger(registry, settings.exports, connection !== undefined, (specs) =>
      openExports(specs, opening),
    );
    releases.push(() => registry.close());
    page?.files?.show(registry);
    releases.push(() => page?.files?.close() ?? Promise.resolve());

    const { connectionsMax } = listen;
    const server = new NbdServer({
      exports: registry,
      logger,
      trace,
      clock,
      ...(connectionsMax === undefined ? {} : { limits: { connectionsMax } }),
      ...(tls === undefined ? {} : { tls }),
    });
    releases.push(() => server.close());
    page?.observer.observe({
      exports: () => registry.allExports,
      userCountOf: (name) => registry.userCountOf(name),
      connectionCount: () => server.connectionCount,
      cache,
      disk: disk?.cache,
      connection,
    });
    const names = settings.exports.map(({ name }) => name);
    const uris = await listenOnAll(server, addresses, names, listen);
    signal?.throwIfAborted();
    if (disk !== undefined && settings.disk?.hydrates === true) {
      const ending = new AbortController();
      releases.push(() => {
        ending.abort();
        return Promise.resolve();
      });
      const devices = new Set(
        exports.flatMap(({ device }) => {
          const snapshot = device instanceof ComparedSnapshot ? device.snapshot : device;
          return snapshot instanceof SnapshotDevice ? [snapshot] : [];
        }),
      );
      const { blocksMax } = disk.cache;
      void hydrateAll({ devices: [...devices], blocksMax, logger, clock, signal: ending.signal });
    }
    page?.setState('ready');
    return {
      uris,
      usage: () => connection?.usage(),
      drain: async (timeoutMs) => {
        page?.setState('draining');
        await server.drain(timeoutMs);
        await release();
      },
      reload: async () => tls?.credentials.reload(),
      changeExports: (specs) => changer.change(specs),
      close: release,
    };
  } catch (error) {
    await release().catch((failure: unknown) => {
      logger.error('what was opened cannot be closed', { error: messageOf(failure) });
    });
    throw error;
  }
}

/** Loaded where it is asked for. */
async function showPage(settings: HttpSettings, parts: PageParts): Promise<Page> {
  const { openPage } = await import('./observing/page.js');
  return openPage(settings, parts);
}
