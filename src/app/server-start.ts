import { formatNbdUri, parseListenAddress } from '../nbd/listen/listen-address.js';
import { NbdServer } from '../nbd/server.js';
import { BlockCache } from '../snapshot/block-cache.js';
import { systemClock, type Clock } from '../util/clock.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { connectApi } from './api-connection.js';
import { openExports } from './export-opening.js';
import { ExportRegistry } from './export-registry.js';
import { DEFAULT_CACHE_MEMORY_BYTES, DEFAULT_LISTEN_ADDRESS, type ServeSettings } from './settings.js';

/** A server that is ready. */
export interface RunningServer {
  /** One for each export and address, by address. */
  readonly uris: readonly string[];
  /** Takes no new clients, finishes what is in flight, disconnects, and lets go of everything. */
  drain(): Promise<void>;
  /** Cuts everything. */
  close(): Promise<void>;
}

/** What a server is given beside its settings. */
export interface ServerSurroundings {
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** Gives up starting. */
  readonly signal?: AbortSignal;
}

/**
 * Opens every export, then listens, in that order: who can connect can read.
 *
 * @throws {EnvironmentError} for an address that cannot be listened on, or missing region or credentials.
 * @throws {EbsError} when a snapshot cannot be opened.
 * @throws the signal's reason when it aborts first.
 */
export async function startServer(
  settings: ServeSettings,
  { logger = silentLogger, clock = systemClock, signal }: ServerSurroundings = {},
): Promise<RunningServer> {
  // What has been taken, to be given back in the opposite order.
  const releases: (() => Promise<void>)[] = [];
  const release = async (): Promise<void> => {
    for (const giveBack of releases.splice(0).reverse()) await giveBack();
  };
  try {
    const needsApi = settings.exports.some(({ source }) => source.kind === 'snapshot');
    const connection = needsApi ? await connectApi(settings.api ?? {}, { logger, clock }) : undefined;
    if (connection !== undefined) releases.push(() => connection.close());

    const cache = new BlockCache(settings.cacheMemoryBytes ?? DEFAULT_CACHE_MEMORY_BYTES);
    const registry = new ExportRegistry(
      await openExports(settings.exports, { connection, cache, logger, clock, signal }),
    );
    releases.push(() => registry.close());

    const server = new NbdServer({ exports: registry, logger, clock });
    releases.push(() => server.close());
    const uris = await listenOnAll(server, settings);
    signal?.throwIfAborted();
    return {
      uris,
      drain: async () => {
        await server.drain();
        await release();
      },
      close: release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

async function listenOnAll(server: NbdServer, settings: ServeSettings): Promise<readonly string[]> {
  const asked = settings.listen ?? [];
  const addresses = asked.length > 0 ? asked : [parseListenAddress(DEFAULT_LISTEN_ADDRESS)];
  const uris: string[] = [];
  for (const address of addresses) {
    const bound = await server.listen(address);
    uris.push(...settings.exports.map(({ name }) => formatNbdUri(bound, name)));
  }
  return uris;
}
