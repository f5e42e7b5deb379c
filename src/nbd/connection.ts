import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { assert } from '../util/assert.js';
import { messageOf } from '../util/errors.js';
import type { Timer } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { KIB } from '../util/units.js';
import { ByteQueue } from './byte-queue.js';
import { receiveFrom, type ByteReceiver } from './byte-source.js';
import type { ConnectionSetup } from './connection-setup.js';
import { ExportHolder } from './export-holder.js';
import { ExportRefusedError, type ExportLease, type ExportListing } from './export-table.js';
import { agreedFeaturesOf, transmissionFlagsOf } from './export-facts.js';
import { HandshakeTimer } from './handshake-timer.js';
import { OptionReplyType } from './handshake-constants.js';
import { Negotiation } from './negotiation/negotiation.js';
import type { Agreement } from './negotiation/agreement.js';
import { TlsMode, type NegotiationAction, type Refusal } from './negotiation/session.js';
import { ProtocolError } from './protocol-error.js';
import { Transmission } from './transmission/transmission.js';

/** Where a connection stands; it only ever moves down this list. */
const Status = { Open: 0, Draining: 1, Ending: 2, Closed: 3 } as const;
type Status = (typeof Status)[keyof typeof Status];

/**
 * Bytes of requests that are read although there is no room for them: some hundred headers. Behind them the end of a
 * client that is gone is seen, while its requests are still with the device.
 */
const HELD_BACK_BYTES = 16 * KIB;

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
  readonly #export: ExportHolder;
  #status: Status = Status.Open;
  #endReason = 'the client hung up';
  /** Says of which export a line is, once that is known. */
  #logger: Logger;
  readonly #startMs: number;
  #isHeldBack = false;
  /** The client has hung up its side while the negotiation waited for an export. */
  #hasInputEnded = false;
  #onClosed: () => void = () => undefined;

  /** Resolves when the socket is gone, no request is with the device, and the export was given back. */
  readonly closed: Promise<void>;

  constructor(setup: ConnectionSetup) {
    this.#setup = setup;
    this.#logger = setup.logger;
    this.#startMs = setup.clock.nowMs();
    this.#stream = setup.stream;
    // Each request that a device works on may listen to it; their number is bounded elsewhere.
    setMaxListeners(0, this.#abort.signal);
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    this.#export = new ExportHolder(setup.exports, this.#abort.signal, setup.logger);
    this.#negotiation = new Negotiation({
      limits: setup.limits,
      listExports: () => setup.exports.list(this.#abort.signal),
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
    // With TLS the bytes of the socket are those of TLS.
    if (this.#setup.tlsMode === TlsMode.Off)
      this.#stream = receiveFrom(this.#stream, this.#receiver, this.#setup.scratches);
    else this.#stream.on('data', this.#onData);
    this.#listenTo(this.#stream);
    this.#handshakeTimer.resume();
    this.#run(this.#negotiation.start());
  }

  #listenTo(stream: Duplex): void {
    stream.on('end', this.#onEnd);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  /**
   * Finishes what is in progress, refuses what is new, then ends. [nbd: Terminating the transmission phase]
   * [nbd: Termination of the session during option haggling] [nbd-rule 35]
   */
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
    // What comes behind DISC is dropped, since the requests before it may take a while. [nbd-rule 33, 38]
    if (this.#status >= Status.Ending || this.#transmission?.isEnding === true) return;
    this.#input.push(chunk);
    this.#advance();
  };

  readonly #receiver: ByteReceiver = {
    received: (bytes) => {
      if (this.#status >= Status.Ending) return false;
      const transmission = this.#transmission;
      if (transmission === undefined) {
        // What is negotiated may refer to what arrived, and is short.
        this.#onData(Buffer.from(bytes));
        return false;
      }
      this.#onData(bytes);
      this.#input.keepCopyOf(bytes);
      return transmission.takeLentInput();
    },
    target: () => (this.#status >= Status.Ending ? undefined : this.#transmission?.payloadRoom),
    wantedBytes: () => this.#transmission?.wantedBytes,
    targetFilled: (countBytes) => {
      if (this.#status >= Status.Ending) return;
      this.#transmission?.payloadFilled(countBytes);
      this.#advance();
    },
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
    this.#attempt(() => {
      if (this.#transmission === undefined) this.#run(this.#negotiation.advance(this.#input));
      else this.#transmission.advance();
    });
    if (this.#transmission?.isEnding === true) this.#input.clear();
    this.#holdBackIfFull();
  }

  /** Does something that an error of the client, or a defect of the server, may end this connection by. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Leaves further input with the system while there is no room for it. */
  #holdBackIfFull(): void {
    const isFull =
      this.#transmission === undefined
        ? this.#negotiation.state === 'export' && this.#input.lengthBytes > this.#setup.limits.optionBytesMax
        : this.#transmission.isBlocked && this.#input.lengthBytes > HELD_BACK_BYTES;
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
        case 'list':
          void this.#list(action.listings);
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
      stream.on('data', this.#onData);
      this.#listenTo(stream);
      this.#negotiation.tlsStarted();
    } catch (error) {
      // [nbd: FORCEDTLS mode] It is too late to go on without.
      const reason = tlsReasonOf(error);
      this.#setup.logger.info('a client failed to set up TLS', { error: reason });
      this.#cut(`TLS could not be set up: ${reason}`);
    }
  }

  /** Looks up an export, and takes the negotiation up again where it waits. */
  async #acquire(name: string): Promise<void> {
    const outcome = this.#export.heldFor(name) ?? (await this.#lookUp(name));
    if (this.#status >= Status.Ending) return;
    this.#attempt(() => {
      if (outcome instanceof ExportRefusedError) this.#run(this.#negotiation.exportRefused(outcome));
      else this.#run(this.#negotiation.exportAcquired(outcome));
    });
    this.#advance();
    if (this.#hasInputEnded) this.#onEnd();
  }

  /** Waits for what LIST shows, and takes the negotiation up again. */
  async #list(listings: Promise<readonly ExportListing[]>): Promise<void> {
    this.#handshakeTimer.pause();
    const listed = await listings;
    if (this.#status >= Status.Ending) return;
    this.#handshakeTimer.resume();
    this.#attempt(() => this.#run(this.#negotiation.exportsListed(listed)));
    this.#advance();
    if (this.#hasInputEnded) this.#onEnd();
  }

  /** The time that this takes is the server's, not the client's. */
  async #lookUp(name: string): Promise<ExportLease | ExportRefusedError> {
    this.#handshakeTimer.pause();
    try {
      return await this.#export.acquire(name);
    } catch (error) {
      assert(error instanceof ExportRefusedError, messageOf(error));
      return error;
    } finally {
      if (this.#status < Status.Ending) this.#handshakeTimer.resume();
    }
  }

  #transmit(lease: ExportLease, agreed: Agreement): void {
    this.#handshakeTimer.pause();
    const { trace } = this.#setup;
    const logger = this.#setup.logger.child({ export: lease.name });
    this.#logger = logger;
    logger.info('a client uses an export', { replies: agreed.replyStyle });
    this.#transmission = new Transmission({
      ...this.#setup,
      input: this.#input,
      stream: this.#stream,
      device: lease.device,
      traffic: lease.traffic,
      trace: trace?.child({ export: lease.name }),
      transmissionFlags: transmissionFlagsOf(lease.device, agreedFeaturesOf(agreed)),
      agreed,
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
    this.#abort.abort(CLOSED);
    await this.#transmission?.settled();
    this.#attempt(() => this.#export.release(this.#transmission?.saidGoodbye ?? false));
    this.#logger.info('a client is gone', {
      reason: this.#endReason,
      requests: this.#transmission?.requestCount ?? 0,
      ...this.#transmission?.bytes,
      durationMs: Math.round(this.#setup.clock.nowMs() - this.#startMs),
    });
    this.#onClosed();
  }
}

/** One for all connections: what makes an error dear is to note where it was made. */
const CLOSED = new Error('the connection is closed');

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
