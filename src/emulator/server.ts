import { systemClock, type Clock } from '../util/clock.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { AccountSettings } from './ec2/account-settings.js';
import { Ec2Handler, isEc2Path } from './ec2/ec2-handler.js';
import { handleControl, isControlPath, type Control } from './control.js';
import { DEFAULT_FAULT_SETTINGS, parseFaultSettings, type FaultSettings } from './faults/settings.js';
import { startHttpServer } from './http/http-server.js';
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
  const { host = '127.0.0.1', port = 0, allowRemote = false } = options;
  const { clock = systemClock, logger = silentLogger } = options;
  const reader = await SnapshotReader.open(options.dir);
  const closers = [() => reader.close()];
  try {
    const lock = await lockForServer(reader.layout, clock);
    closers.unshift(() => lock.release());
    let settings: FaultSettings = { ...DEFAULT_FAULT_SETTINGS, ...options.faults };
    const base = { reader, clock, logger, settings: (): FaultSettings => settings };
    const snapshots = await SnapshotRegistry.open(base);
    closers.unshift(() => snapshots.close());
    const secret = await loadTokenKey(reader.layout);
    const stats = new Stats(clock.dateMs());
    const account = await AccountSettings.open(reader.layout.dir);
    const ec2 = new Ec2Handler({ ...base, snapshots }, account);
    const handler = new RequestHandler(
      {
        ...base,
        snapshots,
        account,
        blockTokens: new BlockTokens(secret),
        pageTokens: new PageTokens(secret),
        putBuffers: new BufferPool(PUTS_MAX),
      },
      stats,
    );
    const setFaults = (faults: Partial<FaultSettings>): FaultSettings => {
      settings = { ...settings, ...faults };
      if (faults.seed !== undefined) handler.reseed();
      return settings;
    };
    const control: Control = {
      stats: () => ({ ...stats.snapshot(clock.dateMs()), ec2: ec2.counts() }),
      resetStats: () => {
        stats.reset(clock.dateMs());
        ec2.resetCounts();
      },
      faults: () => settings,
      setFaults: (input) => setFaults(parseFaultSettings(input)),
    };
    const server = await startHttpServer({
      ...{ host, port, allowRemote, clock, logger },
      handle: (exchange) => {
        if (isControlPath(exchange.path)) return handleControl(control, exchange);
        return isEc2Path(exchange.path) ? ec2.handle(exchange) : handler.handle(exchange);
      },
    });
    closers.unshift(async () => {
      await server.close();
      handler.stop();
      ec2.stop();
      await server.idle();
    });
    lock.announce(server.url);
    let closing: Promise<void> | undefined;
    return {
      url: server.url,
      port: server.port,
      stats: () => control.stats(),
      setFaults,
      close: () => (closing ??= closeAll(closers)),
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
