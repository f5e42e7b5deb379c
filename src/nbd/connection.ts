import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { assert } from '../util/assert.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import type { Clock, Timer } from '../util/clock.js';
import { ByteQueue } from './byte-queue.js';
import { ExportRefusalKind, ExportRefusedError, type ExportLease, type ExportTable } from './export-table.js';
import { agreedFeaturesOf, transmissionFlagsOf } from './export-facts.js';
import { HandshakeTimer } from './handshake-timer.js';
import { OptionReplyType } from './handshake-constants.js';
import type { NbdLimits } from './limits.js';
import { Negotiation } from './negotiation/negotiation.js';
import type { Agreement } from './negotiation/agreement.js';
import type { NegotiationAction, Refusal, TlsMode } from './negotiation/session.js';
import { ProtocolError } from './protocol-error.js';
import type { PayloadPool } from './transmission/payload-pool.js';
import type { SlabPool } from './transmission/slab-pool.js';
import { Transmission } from './transmission/transmission.js';

/** What a connection needs. */
export interface ConnectionSetup {
  readonly stream: Duplex;
  readonly exports: ExportTable;
  readonly limits: NbdLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly slabs: SlabPool;
  readonly payloads: PayloadPool;
  readonly tlsMode: TlsMode;
  /** Encrypts the stream; needed unless the mode is `off`. */
  readonly upgrade?: (stream: Duplex) => Promise<EncryptedStream>;
  /** When set, the client is told this and nothing else. */
  readonly refusal?: Refusal;
}

/** A stream that has been encrypted. */
export interface EncryptedStream {
  readonly stream: Duplex;
  /** When set, the client is told this and nothing else. */
  readonly refusal?: Refusal | undefined;
}

/** Where a connection stands; it only ever moves down this list. */
const Status = { Open: 0, Draining: 1, Ending: 2, Closed: 3 } as const;
type Status = (typeof Status)[keyof typeof Status];

/** One client from the greeting to the end: the only place that touches the socket. */
export class Connection {
  readonly #setup: ConnectionSetup;
  #stream: Duplex;
  readonly #input = new ByteQueue();
  readonly #negotiation: Negotiation;
  readonly #abort = new AbortController();
  readonly #handshakeTimer: HandshakeTimer;
  #lingerTimer: Timer | undefined;
  #transmission: Transmission | undefined;
  #lease: ExportLease | undefined;
  /** The name by which the client asked for the lease. */
  #leaseFor: string | undefined;
  #status: Status = Status.Open;
  #endReason = 'the client hung up';
  #isHeldBack = false;
  /** The client has hung up its side while the negotiation waited for an export. */
  #hasInputEnded = false;
  #onClosed: () => void = () => undefined;

  /** Resolves when the socket is gone, no request is with the device, and the export was given back. */
  readonly closed: Promise<void>;

  constructor(setup: ConnectionSetup) {
    this.#setup = setup;
    this.#stream = setup.stream;
    // Each request that a device works on may listen to it; their number is bounded elsewhere.
    setMaxListeners(0, this.#abort.signal);
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    this.#negotiation = new Negotiation({
      limits: setup.limits,
      listExports: () => setup.exports.list(),
      tlsMode: setup.tlsMode,
      ...(setup.refusal === undefined ? {} : { refusal: setup.refusal }),
    });
    // An idle handshake keeps no place. [nbd-rule 19; CVE-2024-7409]
    this.#handshakeTimer = new HandshakeTimer(setup.clock, setup.limits.handshakeTimeoutMs, () => {
      this.#cut('the handshake took too long');
    });
  }

  /** Greets the client and begins to listen to it. */
  start(): void {
    this.#listenTo(this.#stream);
    this.#handshakeTimer.resume();
    this.#run(this.#negotiation.start());
  }

  #listenTo(stream: Duplex): void {
    stream.on('data', this.#onData);
    stream.on('end', this.#onEnd);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  /** Finishes what is in progress, refuses what is new, then ends. [nbd-rule 35] */
  drain(): void {
    if (this.#status !== Status.Open) return;
    this.#status = Status.Draining;
    if (this.#transmission !== undefined) {
      this.#transmission.shutDown();
    } else if (this.#negotiation.state === 'tls') {
      this.#cut('the server is shutting down');
    } else if (this.#negotiation.isWithinOption) {
      this.#negotiation.refuseAll(SHUTDOWN);
    } else {
      this.#end('the server is shutting down');
    }
  }

  /** Cuts the connection, whatever is in progress. */
  close(): void {
    this.#cut('the server is closing');
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#status >= Status.Ending) return;
    this.#input.push(chunk);
    this.#advance();
  };

  readonly #onEnd = (): void => {
    if (this.#transmission !== undefined) this.#transmission.endOfInput();
    else if (this.#negotiation.state === 'export') this.#hasInputEnded = true;
    else this.#end('the client hung up during the handshake');
  };

  readonly #onError = (error: Error): void => {
    this.#endReason = messageOf(error);
  };

  readonly #onClose = (): void => {
    void this.#tearDown();
  };

  /** Goes as far as the input reaches. */
  #advance(): void {
    try {
      if (this.#transmission === undefined) this.#run(this.#negotiation.advance(this.#input));
      else this.#transmission.advance();
    } catch (error) {
      this.#fail(error);
    }
    this.#holdBackIfFull();
  }

  /** Leaves further input with the system while there is no room for it. */
  #holdBackIfFull(): void {
    const isFull =
      this.#transmission === undefined
        ? this.#negotiation.state === 'export' && this.#input.lengthBytes > this.#setup.limits.optionBytesMax
        : this.#transmission.isBlocked;
    const isHeldBack = isFull && this.#status < Status.Ending;
    if (isHeldBack === this.#isHeldBack) return;
    this.#isHeldBack = isHeldBack;
    if (isHeldBack) this.#stream.pause();
    else this.#stream.resume();
  }

  #run(actions: readonly NegotiationAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'send':
          this.#stream.write(action.bytes);
          break;
        case 'acquire':
          void this.#acquire(action.name);
          break;
        case 'startTls':
          void this.#startTls();
          break;
        case 'transmit':
          this.#transmit(action.lease, action.agreed);
          break;
        case 'close':
          this.#end(action.reason);
          break;
      }
    }
  }

  /** Goes on encrypted. The acknowledgement of STARTTLS is the last that went out in the clear. [nbd-rule 15] */
  async #startTls(): Promise<void> {
    const plain = this.#stream;
    plain.off('data', this.#onData);
    plain.off('end', this.#onEnd);
    plain.pause();
    // What came in the clear behind STARTTLS and was not read yet goes the same way as what was.
    while (plain.read() !== null);
    try {
      assert(this.#setup.upgrade !== undefined, 'TLS was offered without means');
      const { stream, refusal } = await this.#setup.upgrade(plain);
      if (this.#status >= Status.Ending) {
        stream.destroy();
        return;
      }
      plain.off('close', this.#onClose);
      this.#stream = stream;
      if (refusal !== undefined) this.#negotiation.refuseAll(refusal);
      this.#listenTo(stream);
      this.#negotiation.tlsStarted();
    } catch (error) {
      // [nbd: FORCEDTLS mode] It is too late to go on without.
      const reason = tlsReasonOf(error);
      this.#setup.logger.info('a client failed to set up TLS', { error: reason });
      this.#cut(`TLS could not be set up: ${reason}`);
    }
  }

  /**
   * Looks up an export. The one that was asked for last is kept until another is asked for, so that an INFO and then a
   * GO see the same.
   */
  async #acquire(name: string): Promise<void> {
    if (this.#lease === undefined || this.#leaseFor !== name) {
      this.#releaseLease();
      // The time that the server takes is not the client's.
      this.#handshakeTimer.pause();
      let refusal: ExportRefusedError | undefined;
      try {
        const lease = await this.#setup.exports.acquire(name, { signal: this.#abort.signal });
        if (this.#status >= Status.Ending) {
          lease.release();
          return;
        }
        this.#lease = lease;
        this.#leaseFor = name;
      } catch (error) {
        if (this.#status >= Status.Ending) return;
        refusal = this.#refusalFor(error);
      }
      this.#handshakeTimer.resume();
      if (refusal !== undefined) {
        this.#continue(this.#negotiation.exportRefused(refusal));
        return;
      }
    }
    if (this.#lease !== undefined) this.#continue(this.#negotiation.exportAcquired(this.#lease));
  }

  /** Takes the negotiation up again where it waited. */
  #continue(actions: readonly NegotiationAction[]): void {
    this.#run(actions);
    this.#advance();
    if (this.#hasInputEnded) this.#onEnd();
  }

  #refusalFor(error: unknown): ExportRefusedError {
    if (error instanceof ExportRefusedError) return error;
    this.#setup.logger.error('an export could not be opened', { error: messageOf(error) });
    return new ExportRefusedError(
      ExportRefusalKind.Unavailable,
      "the export could not be opened: see the server's log",
      { cause: error },
    );
  }

  #transmit(lease: ExportLease, agreed: Agreement): void {
    this.#handshakeTimer.pause();
    const { limits, slabs, payloads } = this.#setup;
    const logger = this.#setup.logger.child({ export: lease.name });
    logger.info('a client uses an export', { replies: agreed.replyStyle });
    this.#transmission = new Transmission({
      input: this.#input,
      stream: this.#stream,
      device: lease.device,
      transmissionFlags: transmissionFlagsOf(lease.device, agreedFeaturesOf(agreed)),
      agreed,
      limits,
      slabs,
      payloads,
      signal: this.#abort.signal,
      logger,
      onRoom: () => this.#advance(),
      onFinished: () => this.#end('the client disconnected'),
    });
    this.#advance();
  }

  /** An error that ends this connection, and no other. */
  #fail(error: unknown): void {
    if (error instanceof ProtocolError) {
      this.#setup.logger.info('a client broke the protocol', { error: error.message });
      this.#end(error.message);
    } else {
      this.#setup.logger.error('a connection failed', { error: messageOf(error) });
      this.#cut(messageOf(error));
    }
  }

  /** Lets what was sent go out, and ends; a client that does not read is cut after a while. */
  #end(reason: string): void {
    if (this.#status >= Status.Ending) return;
    this.#status = Status.Ending;
    this.#endReason = reason;
    this.#handshakeTimer.pause();
    this.#input.clear();
    this.#lingerTimer = this.#setup.clock.setTimer(this.#setup.limits.lingerMs, () => this.#stream.destroy());
    this.#stream.end();
    // Whatever else comes is read and dropped, since unread input would turn the end into a reset.
    this.#stream.resume();
  }

  #cut(reason: string): void {
    if (this.#status < Status.Ending) this.#endReason = reason;
    this.#status = Math.max(this.#status, Status.Ending) as Status;
    this.#stream.destroy();
  }

  async #tearDown(): Promise<void> {
    if (this.#status === Status.Closed) return;
    this.#status = Status.Closed;
    this.#handshakeTimer.pause();
    this.#lingerTimer?.cancel();
    this.#input.clear();
    this.#abort.abort(new Error('the connection is closed'));
    await this.#transmission?.settled();
    this.#releaseLease();
    this.#setup.logger.info('a client is gone', {
      reason: this.#endReason,
      requests: this.#transmission?.requestCount ?? 0,
    });
    this.#onClosed();
  }

  #releaseLease(): void {
    this.#lease?.release(this.#transmission?.saidGoodbye ?? false);
    this.#lease = undefined;
    this.#leaseFor = undefined;
  }
}

const SHUTDOWN: Refusal = {
  replyType: OptionReplyType.ErrShutdown,
  message: 'the server is shutting down',
  isFinal: true,
};

/** OpenSSL's errors carry their words beside a message of file names and numbers. */
function tlsReasonOf(error: unknown): string {
  if (error instanceof Error && 'reason' in error && typeof error.reason === 'string') return error.reason;
  return messageOf(error);
}
