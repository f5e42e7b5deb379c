import { lookup } from 'node:dns/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BlockList, isIPv6, type AddressInfo } from 'node:net';
import { systemClock, type Clock } from '../util/clock.js';
import { EnvironmentError, messageOf, systemCodeOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { handleControl, isControlPath, type Control } from './control.js';
import { DEFAULT_FAULT_SETTINGS, parseFaultSettings, type FaultSettings } from './faults/settings.js';
import { Exchange } from './http/exchange.js';
import type { OperationContext } from './operations/operation.js';
import { RequestHandler } from './request-handler.js';
import { SnapshotRegistry } from './snapshot-registry.js';
import { Stats, type EmulatorStats } from './stats.js';
import { BufferPool } from './store/buffer-pool.js';
import { lockForServer } from './store/lock.js';
import { SnapshotReader } from './store/snapshot-reader.js';
import { loadTokenKey } from './store/token-key.js';
import { BlockTokens, PageTokens } from './tokens.js';

/** Blocks that arrive at the same time: 64 MiB. */
const PUTS_MAX = 128;
/** Connections beyond this are refused by the system's queue. */
const CONNECTIONS_MAX = 4096;
/** Longer than clients keep an idle connection, so that they never find it closed under a request. */
const KEEP_ALIVE_MS = 75_000;
/** How long requests under way may take when the emulator is stopped. */
const CLOSE_GRACE_MS = 5_000;

export interface EmulatorOptions {
  /** The folder of the snapshots; made when there is none. */
  readonly dir: string;
  /** Address to listen on. Default: 127.0.0.1. */
  readonly host?: string;
  /** Default: 0, any free port. */
  readonly port?: number;
  /** Allows addresses that are not loopback: anybody who reaches them can read and write. Default: false. */
  readonly allowRemote?: boolean;
  /** Default: none, see DEFAULT_FAULT_SETTINGS. */
  readonly faults?: Partial<FaultSettings>;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** An emulator that answers. */
export interface RunningEmulator {
  /** The endpoint: `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  readonly stats: () => EmulatorStats;
  /** Changes some of the settings. Returns those now in force. */
  readonly setFaults: (faults: Partial<FaultSettings>) => FaultSettings;
  /** Finishes what is under way, and returns when the folder may be used by another process. */
  readonly close: () => Promise<void>;
}

/**
 * Starts the emulator of the EBS direct APIs on a folder.
 *
 * @throws {EnvironmentError} when the folder or the address cannot be used.
 */
export async function startEmulator(options: EmulatorOptions): Promise<RunningEmulator> {
  const { host = '127.0.0.1', port = 0, clock = systemClock, logger = silentLogger } = options;
  const address = await resolveAddress(host, options.allowRemote ?? false);
  let settings: FaultSettings = { ...DEFAULT_FAULT_SETTINGS, ...options.faults };
  const stats = new Stats(clock.dateMs());
  const reader = await SnapshotReader.open(options.dir);
  const closers = [() => reader.close()];
  try {
    const lock = await lockForServer(reader.layout, clock);
    closers.unshift(() => lock.release());
    const snapshots = await SnapshotRegistry.open({ reader, clock, logger, settings: () => settings });
    closers.unshift(() => snapshots.close());
    const secret = await loadTokenKey(reader.layout);
    const context: OperationContext = {
      snapshots,
      blockTokens: new BlockTokens(secret),
      pageTokens: new PageTokens(secret),
      putBuffers: new BufferPool(PUTS_MAX),
      clock,
      logger,
      settings: () => settings,
    };
    const handler = new RequestHandler(context, stats);
    const setFaults = (faults: Partial<FaultSettings>): FaultSettings => {
      settings = { ...settings, ...faults };
      if (faults.seed !== undefined) handler.reseed();
      return settings;
    };
    const control: Control = {
      stats: () => stats.snapshot(clock.dateMs()),
      resetStats: () => stats.reset(clock.dateMs()),
      faults: () => settings,
      setFaults: (input) => setFaults(parseFaultSettings(input)),
    };
    const server = makeServer((message, response) => {
      const exchange = new Exchange(message, response);
      const handling = isControlPath(exchange.path)
        ? handleControl(control, exchange)
        : handler.handle(exchange);
      handling.catch((error: unknown) => {
        logger.error('A request ended unexpectedly', { reason: messageOf(error) });
        response.destroy();
      });
    });
    const boundPort = await listen(server, address, port);
    closers.unshift(() => closeServer(server, clock));
    const url = `http://${isIPv6(address) ? `[${address}]` : address}:${boundPort}`;
    lock.announce(url);
    return {
      url,
      port: boundPort,
      stats: () => control.stats(),
      setFaults,
      close: () => closeAll(closers),
    };
  } catch (error) {
    await closeAll(closers);
    throw error;
  }
}

/** One after another, each of them also when one before it fails. */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers) await close().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

function makeServer(onRequest: (message: IncomingMessage, response: ServerResponse) => void): Server {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true }, onRequest);
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}

async function resolveAddress(host: string, allowRemote: boolean): Promise<string> {
  let address: string;
  try {
    ({ address } = await lookup(host));
  } catch (error) {
    throw new EnvironmentError(`Cannot listen on ${host}: ${messageOf(error)}.`, { cause: error });
  }
  if (!allowRemote && !isLoopback(address)) {
    throw new EnvironmentError(
      `Cannot listen on ${host}: the emulator verifies no signatures, so it listens on loopback addresses only, unless --allow-remote is given.`,
    );
  }
  return address;
}

function isLoopback(address: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

function listen(server: Server, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const reason =
        systemCodeOf(error) === 'EADDRINUSE'
          ? 'the port is in use; name another one, or 0 for any free one'
          : messageOf(error);
      reject(new EnvironmentError(`Cannot listen on ${address} port ${port}: ${reason}.`, { cause: error }));
    });
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
  });
}

async function closeServer(server: Server, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = clock.setTimer(CLOSE_GRACE_MS, () => server.closeAllConnections());
  await closed;
  timer.cancel();
}
