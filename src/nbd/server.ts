import type { Socket } from 'node:net';
import { assert } from '../util/assert.js';
import { systemClock, type Clock } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import { silentLogger, type Logger } from '../util/logger.js';
import { ScratchPool } from './byte-source.js';
import { Connection } from './connection.js';
import type { ExportTable } from './export-table.js';
import { OptionReplyType } from './handshake-constants.js';
import { DEFAULT_NBD_LIMITS, type NbdLimits } from './limits.js';
import { formatListenAddress, type BoundAddress, type ListenAddress } from './listen/listen-address.js';
import { openListener, type Listener } from './listen/listener.js';
import { TlsMode, type Refusal } from './negotiation/session.js';
import { ServerTls, type TlsSetup } from './tls/server-tls.js';
import { PayloadPool } from './transmission/payload-pool.js';
import { SlabPool } from './transmission/slab-pool.js';

/** What an NBD server is made of. */
export interface NbdServerOptions {
  readonly exports: ExportTable;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
  /** Gets a line for each request. Default: none are written. */
  readonly trace?: Logger | undefined;
  /** Default: the real time. */
  readonly clock?: Clock;
  /** Default: {@link DEFAULT_NBD_LIMITS}, for each that is left out. */
  readonly limits?: Partial<NbdLimits>;
  /** Default: no TLS. */
  readonly tls?: TlsSetup;
}

/** How to listen on one address. */
export interface ListenOptions {
  /** Permissions of a unix socket. Default: 0600, its owner alone. */
  readonly unixMode?: number;
}

/** How long {@link NbdServer.drain} waits for clients, in milliseconds, if it is not told otherwise. */
export const DEFAULT_DRAIN_TIMEOUT_MS = 10_000;

/** An NBD server: several addresses, many clients, one table of exports. */
export class NbdServer {
  readonly #exports: ExportTable;
  readonly #logger: Logger;
  readonly #trace: Logger | undefined;
  readonly #clock: Clock;
  readonly #limits: NbdLimits;
  readonly #tls: ServerTls | undefined;
  readonly #scratches = new ScratchPool();
  readonly #slabs = new SlabPool();
  readonly #payloads = new PayloadPool();
  readonly #listeners: Listener[] = [];
  readonly #connections = new Set<Connection>();
  /** Clients that are only told that there is no room for them. */
  readonly #refused = new Set<Connection>();
  #isClosing = false;
  #clientCount = 0;

  constructor(options: NbdServerOptions) {
    this.#exports = options.exports;
    this.#logger = options.logger ?? silentLogger;
    this.#trace = options.trace;
    this.#clock = options.clock ?? systemClock;
    this.#limits = { ...DEFAULT_NBD_LIMITS, ...options.limits };
    this.#tls = options.tls === undefined ? undefined : new ServerTls(options.tls);
  }

  /** Clients that are being served. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Begins to listen; may be called for several addresses.
   *
   * @returns where it listens, with the port that was found for port 0.
   * @throws {EnvironmentError} when the address cannot be had, with what to do about it.
   */
  async listen(address: ListenAddress, options: ListenOptions = {}): Promise<BoundAddress> {
    assert(!this.#isClosing, 'the server is closing');
    const listener = await openListener(address, {
      ...options,
      onConnection: (socket) => this.#accept(socket),
      onError: (error) => this.#logger.error('a client could not be accepted', { error: messageOf(error) }),
    });
    this.#listeners.push(listener);
    this.#logger.debug('listening', { address: formatListenAddress(listener.address) });
    return listener.address;
  }

  /**
   * Stops accepting, lets every client have the replies to what it has asked for, and disconnects.
   *
   * @param timeoutMs how long that may take before what is left is cut. Default: 10 s.
   */
  async drain(timeoutMs: number = DEFAULT_DRAIN_TIMEOUT_MS): Promise<void> {
    await this.#closeListeners();
    const timer = this.#clock.setTimer(timeoutMs, () => this.#cutAll());
    for (const connection of this.#all()) connection.drain();
    await this.#allClosed();
    timer.cancel();
  }

  /** Stops accepting and cuts every client. Resolves when all exports were given back. */
  async close(): Promise<void> {
    await this.#closeListeners();
    this.#cutAll();
    await this.#allClosed();
  }

  #accept(socket: Socket): void {
    if (this.#isClosing) {
      socket.destroy();
      return;
    }
    const refusal = this.#refusalForOneMore();
    if (refusal !== undefined && this.#refused.size >= this.#limits.refusalsMax) {
      socket.destroy();
      return;
    }
    // [nbd-rule 38] Finds clients that are gone without a word.
    socket.setKeepAlive(true, this.#limits.keepAliveMs);
    this.#clientCount += 1;
    const client = `${this.#clientCount}`;
    const logger = this.#logger.child({ client, from: peerOf(socket) });
    const connection = new Connection({
      stream: socket,
      exports: this.#exports,
      limits: this.#limits,
      clock: this.#clock,
      logger,
      trace: this.#trace?.child({ client }),
      scratches: this.#scratches,
      slabs: this.#slabs,
      payloads: this.#payloads,
      tlsMode: this.#tls?.mode ?? TlsMode.Off,
      ...(this.#tls === undefined ? {} : { upgrade: this.#tls.upgrade }),
      ...(refusal === undefined ? {} : { refusal }),
    });
    const group = refusal === undefined ? this.#connections : this.#refused;
    group.add(connection);
    void connection.closed.then(() => group.delete(connection));
    connection.start();
  }

  /** Connections are capped. [nbd-rule 19] */
  #refusalForOneMore(): Refusal | undefined {
    if (this.#connections.size < this.#limits.connectionsMax) return undefined;
    this.#logger.warn('a client is refused: too many connections', {
      connectionsMax: this.#limits.connectionsMax,
    });
    return {
      replyType: OptionReplyType.ErrPolicy,
      message: `the server already has ${this.#limits.connectionsMax} clients, as many as it takes`,
    };
  }

  async #closeListeners(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
  }

  #all(): Connection[] {
    return [...this.#connections, ...this.#refused];
  }

  #cutAll(): void {
    for (const connection of this.#all()) connection.close();
  }

  async #allClosed(): Promise<void> {
    await Promise.all(this.#all().map((connection) => connection.closed));
  }
}

function peerOf(socket: Socket): string {
  return socket.remoteAddress === undefined ? 'unix' : `${socket.remoteAddress}:${socket.remotePort ?? 0}`;
}
