import { setMaxListeners } from 'node:events';
import type { Writable } from 'node:stream';
import type { BlockDevice } from '../../device/block-device.js';
import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import type { ByteQueue } from '../byte-queue.js';
import type { RequestHeader } from '../codec/request-header.js';
import type { NbdLimits } from '../limits.js';
import { ReplyStyle, type Agreement } from '../negotiation/agreement.js';
import type { ExportTraffic } from '../traffic.js';
import { WireError } from '../transmission-constants.js';
import { extendedForm, structuredForm } from './chunked-form.js';
import { Executor } from './executor.js';
import { FailureLog } from './failure-log.js';
import { InFlight } from './in-flight.js';
import type { PayloadPool } from './payload-pool.js';
import { RequestAccount } from './request-account.js';
import type { ReplyForm } from './reply-form.js';
import { ReplyWriter } from './reply-writer.js';
import { IntakeStep, RequestIntake } from './request-intake.js';
import { RequestReader, type WriteData } from './request-reader.js';
import { checkRequest, type RequestRules } from './request-rules.js';
import { simpleForm } from './simple-form.js';
import type { SlabPool } from './slab-pool.js';
import { narrowStatus, statusContextsOf, type StatusContext } from './status-contexts.js';

/** What a transmission needs. */
export interface TransmissionSetup {
  readonly input: ByteQueue;
  readonly stream: Writable;
  readonly device: BlockDevice;
  readonly transmissionFlags: number;
  readonly agreed: Agreement;
  readonly limits: NbdLimits;
  readonly slabs: SlabPool;
  readonly payloads: PayloadPool;
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Where requests of all clients of the export are counted. Default: nobody sees it. */
  readonly traffic?: ExportTraffic | undefined;
  /** Gets a line for each request. Default: none are written. */
  readonly trace?: Logger | undefined;
  /** There is room for requests again after {@link Transmission.isBlocked}. */
  readonly onRoom: () => void;
  /** Everything that was asked has been answered and sent, and nothing more will be. */
  readonly onFinished: () => void;
}

/** The transmission phase of one connection: requests out of the input, replies into the stream. */
export class Transmission {
  readonly #setup: TransmissionSetup;
  readonly #reader: RequestReader;
  readonly #intake: RequestIntake;
  readonly #inFlight: InFlight;
  readonly #writer: ReplyWriter;
  readonly #form: ReplyForm;
  readonly #executor: Executor;
  readonly #account: RequestAccount;
  readonly #rules: RequestRules;
  readonly #contexts: readonly StatusContext[];
  /** Ends what CACHE has begun; there from the first one on, since few clients ever send one. */
  #prefetch: AbortController | undefined;
  /** Why nothing is prefetched any more. */
  #prefetchEnd: Error | undefined;
  #isBlocked = false;
  /** No further requests are read: DISC was received, or the last one has been. */
  #isEnding = false;
  #saidGoodbye = false;
  #hasInputEnded = false;
  #isShuttingDown = false;
  #isFlushScheduled = false;
  #hasLentInput = false;

  constructor(setup: TransmissionSetup) {
    const { device, limits, agreed, signal } = setup;
    const isExtended = agreed.replyStyle === ReplyStyle.Extended;
    this.#setup = setup;
    this.#form = FORMS[agreed.replyStyle];
    this.#account = new RequestAccount(setup);
    this.#contexts = statusContextsOf(device, agreed);
    this.#inFlight = new InFlight(limits, this.#contexts.length);
    this.#writer = new ReplyWriter(setup.stream, setup.slabs, () => this.#afterSending());
    this.#executor = new Executor({
      device,
      form: this.#form,
      writer: this.#writer,
      extentsMax: limits.extentsMax,
      signal,
      prefetchSignal: () => this.#prefetchSignal(),
      failures: new FailureLog(setup.logger, setup.clock),
      onFailure: (request, reason) => this.#account.failed(request, reason),
    });
    this.#rules = {
      sizeBytes: device.sizeBytes,
      transmissionFlags: setup.transmissionFlags,
      payloadBytesMax: limits.payloadBytesMax,
      isExtended,
      hasContexts: this.#contexts.length > 0,
    };
    this.#reader = new RequestReader(setup.input, setup.payloads, device, isExtended);
    const handler = {
      hasRoomFor: (header: RequestHeader) => this.#inFlight.hasRoomFor(header, this.#writer.unsentBytes),
      execute: (header: RequestHeader, data: WriteData) => this.#execute(header, data),
      executeStatus: (header: RequestHeader, payload: Buffer) => this.#executeStatus(header, payload),
      refuse: (header: RequestHeader, error: WireError) => this.#refuse(header, error),
    };
    this.#intake = new RequestIntake(this.#reader, this.#rules, handler, limits.refusedPayloadBytesMax);
  }

  /** True while no request is started for want of room; what arrives then should be left with the system. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Where the next bytes belong of a large payload that is being received, if everything that arrived is used up. */
  get payloadRoom(): Buffer | undefined {
    return this.#isEnding ? undefined : this.#reader.payloadRoom;
  }

  /** How much to read at most when there is no {@link payloadRoom}; undefined: as much as there is. */
  get wantedBytes(): number | undefined {
    return this.#reader.wantedBytes;
  }

  /** So many bytes have arrived at the beginning of {@link payloadRoom}. */
  payloadFilled(countBytes: number): void {
    this.#reader.payloadFilled(countBytes);
  }

  /** Whether the device works on views of what arrived since this was asked last. */
  takeLentInput(): boolean {
    const hasLentInput = this.#hasLentInput;
    this.#hasLentInput = false;
    return hasLentInput;
  }

  /** Requests received so far. */
  get requestCount(): number {
    return this.#intake.requestCount;
  }

  /** Bytes that the client was given, and that it has written. */
  get bytes(): { readonly readBytes: number; readonly writtenBytes: number } {
    const { readBytes, writtenBytes } = this.#account;
    return { readBytes, writtenBytes };
  }

  /** The client has sent NBD_CMD_DISC. */
  get saidGoodbye(): boolean {
    return this.#saidGoodbye;
  }

  /** No further requests are read: whatever else arrives is of no use. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /**
   * Starts as many of the requests that have arrived as there is room for.
   *
   * @throws {ProtocolError} when the client has lost its place in the stream.
   */
  advance(): void {
    let step: IntakeStep = IntakeStep.Taken;
    try {
      while (!this.#isEnding && step === IntakeStep.Taken) step = this.#intake.step();
    } finally {
      this.#isBlocked = step === IntakeStep.NoRoom;
      if (step === IntakeStep.Goodbye) {
        this.#saidGoodbye = true;
        this.#isEnding = true;
      }
      this.#writer.flush();
    }
    this.#endIfNothingFollows();
  }

  /**
   * Nothing more will arrive: what has is answered, as long as the client listens. It is not going to read what it has
   * asked to prefetch, and may well be gone altogether: that looks the same until a reply is sent. [nbd-rule 38]
   */
  endOfInput(): void {
    this.#hasInputEnded = true;
    this.#endPrefetch('the client has hung up');
    this.#endIfNothingFollows();
  }

  /** Finishes what is in progress; new requests get ESHUTDOWN until then. [nbd-rule 35] */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.#endPrefetch('the server is shutting down');
    this.#intake.refuseAll();
    this.#finishIfIdle();
  }

  /** Resolves when no request is with the device any more; its signal should have been aborted. */
  settled(): Promise<void> {
    return this.#inFlight.settled();
  }

  #prefetchSignal(): AbortSignal {
    if (this.#prefetch !== undefined) return this.#prefetch.signal;
    const controller = new AbortController();
    this.#prefetch = controller;
    setMaxListeners(0, controller.signal);
    const { signal } = this.#setup;
    signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
    if (this.#prefetchEnd !== undefined) controller.abort(this.#prefetchEnd);
    return controller.signal;
  }

  #endPrefetch(reason: string): void {
    this.#prefetchEnd ??= new Error(reason);
    this.#prefetch?.abort(this.#prefetchEnd);
  }

  #execute(header: RequestHeader, data: WriteData): void {
    this.#account.begin(header);
    const outcome = this.#executor.execute(header, data, this.#contexts);
    this.#track(header, outcome, 'commit' in data ? NO_PAYLOAD : data);
  }

  /** A BLOCK_STATUS whose payload says for which contexts. [nbd: NBD_FLAG_BLOCK_STATUS_PAYLOAD; nbd-rule 18] */
  #executeStatus(header: RequestHeader, payload: Buffer): void {
    const narrowed = narrowStatus(header, payload, this.#contexts);
    const error = narrowed === undefined ? WireError.EINVAL : checkRequest(narrowed.request, this.#rules);
    if (narrowed === undefined || error !== WireError.None) {
      this.#refuse(header, error);
      return;
    }
    this.#account.begin(narrowed.request);
    const outcome = this.#executor.execute(narrowed.request, payload, narrowed.contexts);
    this.#track(header, outcome, payload);
  }

  #refuse(header: RequestHeader, error: WireError): void {
    this.#account.refused(header, error);
    this.#form.failure(this.#writer, header, { error, message: REFUSAL_MESSAGES[error] ?? '' });
  }

  /** Counts a request that was not answered at once until it is; its payload is free then. */
  #track(header: RequestHeader, outcome: Promise<WireError> | WireError, payload: Buffer): void {
    const { payloads } = this.#setup;
    if (typeof outcome === 'number') {
      this.#account.answered(header, outcome);
      payloads.give(payload);
      return;
    }
    if (payload.length > 0 && this.#reader.isPayloadView) this.#hasLentInput = true;
    const release = this.#inFlight.add(header);
    const answered = this.#account.waits(header);
    void outcome.then((error) => {
      release();
      answered(error);
      payloads.give(payload);
      this.#scheduleFlush();
    });
  }

  /** Replies that are made in one go are sent in one go. */
  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    process.nextTick(this.#flushScheduled);
  }

  readonly #flushScheduled = (): void => {
    this.#isFlushScheduled = false;
    this.#writer.flush();
    this.#afterSending();
  };

  #afterSending(): void {
    if (this.#isBlocked) this.#setup.onRoom();
    this.#finishIfIdle();
  }

  #endIfNothingFollows(): void {
    if (this.#hasInputEnded && !this.#isBlocked) this.#isEnding = true;
    this.#finishIfIdle();
  }

  #finishIfIdle(): void {
    if (!this.#isEnding && !this.#isShuttingDown) return;
    if (this.#inFlight.count > 0 || this.#writer.unsentBytes > 0) return;
    // The rest of a payload is still awaited, unless there will be none.
    if (this.#intake.isWithinPayload && !this.#isEnding) return;
    this.#setup.onFinished();
  }
}

const FORMS: Readonly<Record<ReplyStyle, ReplyForm>> = {
  [ReplyStyle.Simple]: simpleForm,
  [ReplyStyle.Structured]: structuredForm,
  [ReplyStyle.Extended]: extendedForm,
};

/** Of what was received in memory of the device's own. */
const NO_PAYLOAD = Buffer.alloc(0);

/** What a refusal says to a person. */
const REFUSAL_MESSAGES: Readonly<Partial<Record<WireError, string>>> = {
  [WireError.EPERM]: 'the export is read-only',
  [WireError.EINVAL]: 'the request is not valid for this export',
  [WireError.ENOSPC]: 'the request goes past the end of the export',
  [WireError.ESHUTDOWN]: 'the server is shutting down',
};
