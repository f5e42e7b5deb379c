import type { Writable } from 'node:stream';
import type { BlockDevice } from '../../device/block-device.js';
import type { Logger } from '../../util/logger.js';
import type { ByteQueue } from '../byte-queue.js';
import type { RequestHeader } from '../codec/request-header.js';
import type { NbdLimits } from '../limits.js';
import { ReplyStyle, type Agreement } from '../negotiation/agreement.js';
import { ProtocolError } from '../protocol-error.js';
import { Command, WireError } from '../transmission-constants.js';
import { extendedForm, structuredForm } from './chunked-form.js';
import { Executor } from './executor.js';
import type { PayloadPool } from './payload-pool.js';
import type { ReplyForm } from './reply-form.js';
import { ReplyWriter } from './reply-writer.js';
import { RequestReader } from './request-reader.js';
import { checkRequest, type RequestRules } from './request-rules.js';
import { simpleForm } from './simple-form.js';
import type { SlabPool } from './slab-pool.js';
import {
  narrowStatus,
  statusContextsOf,
  STATUS_PAYLOAD_BYTES_MAX,
  type StatusContext,
} from './status-contexts.js';

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
  /** There is room for requests again after {@link Transmission.isBlocked}. */
  readonly onRoom: () => void;
  /** Everything that was asked has been answered and sent, and nothing more will be. */
  readonly onFinished: () => void;
}

/** The transmission phase of one connection: requests out of the input, replies into the stream. */
export class Transmission {
  readonly #setup: TransmissionSetup;
  readonly #reader: RequestReader;
  readonly #writer: ReplyWriter;
  readonly #form: ReplyForm;
  readonly #executor: Executor;
  readonly #rules: RequestRules;
  readonly #contexts: readonly StatusContext[];
  /** What the payload that is being received is for, or an error to answer with once it is gone. */
  #payloadFor: 'write' | 'status' | WireError | undefined;
  #inFlightCount = 0;
  #inFlightBytes = 0;
  #isBlocked = false;
  /** No further requests are read: DISC was received, or the last one has been. */
  #isEnding = false;
  #saidGoodbye = false;
  #hasInputEnded = false;
  #isShuttingDown = false;
  #isFlushScheduled = false;
  #requestCount = 0;
  #onSettled: (() => void) | undefined;

  constructor(setup: TransmissionSetup) {
    this.#setup = setup;
    this.#reader = new RequestReader(
      setup.input,
      setup.payloads,
      setup.agreed.replyStyle === ReplyStyle.Extended,
    );
    this.#writer = new ReplyWriter(setup.stream, setup.slabs, () => this.#afterSending());
    const { device, limits, agreed } = setup;
    this.#form = FORMS[agreed.replyStyle];
    this.#contexts = statusContextsOf(device, agreed);
    this.#executor = new Executor({
      device,
      form: this.#form,
      writer: this.#writer,
      extentsMax: limits.extentsMax,
      signal: setup.signal,
      logger: setup.logger,
    });
    this.#rules = {
      sizeBytes: device.sizeBytes,
      transmissionFlags: setup.transmissionFlags,
      payloadBytesMax: limits.payloadBytesMax,
      isExtended: agreed.replyStyle === ReplyStyle.Extended,
      hasContexts: this.#contexts.length > 0,
    };
  }

  /** True while no request is started for want of room; what arrives then should be left with the system. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Requests received so far. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /**
   * Starts as many of the requests that have arrived as there is room for.
   *
   * @throws {ProtocolError} when the client has lost its place in the stream.
   */
  advance(): void {
    this.#isBlocked = false;
    try {
      while (!this.#isEnding && this.#step());
    } finally {
      this.#writer.flush();
    }
    this.#endIfNothingFollows();
  }

  /** Nothing more will arrive: what has is answered, as long as the client listens. */
  endOfInput(): void {
    this.#hasInputEnded = true;
    this.#endIfNothingFollows();
  }

  /** Resolves when no request is with the device any more; its signal should have been aborted. */
  settled(): Promise<void> {
    if (this.#inFlightCount === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onSettled = resolve;
    });
  }

  /** The client has sent NBD_CMD_DISC. */
  get saidGoodbye(): boolean {
    return this.#saidGoodbye;
  }

  /** Finishes what is in progress; new requests get ESHUTDOWN until then. [nbd-rule 35] */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.#finishIfIdle();
  }

  /** Handles one header or one payload. @returns false when more has to arrive, or room has to be made. */
  #step(): boolean {
    if (this.#payloadFor !== undefined) return this.#receivePayload();
    if (!this.#reader.peek()) return false;
    const { header } = this.#reader;
    if (!this.#hasRoomFor(header)) {
      this.#isBlocked = true;
      return false;
    }
    this.#reader.accept();
    this.#requestCount += 1;
    if (header.type === Command.Disc) {
      // [nbd: NBD_CMD_DISC] Finish what is outstanding, no reply, close. [nbd-rule 33]
      this.#isEnding = true;
      this.#saidGoodbye = true;
      return false;
    }
    this.#begin(header);
    return true;
  }

  #begin(header: RequestHeader): void {
    const { payloadBytes } = this.#reader;
    const hasStatusPayload = payloadBytes > 0 && header.type === Command.BlockStatus;
    let error: WireError;
    if (this.#isShuttingDown) error = WireError.ESHUTDOWN;
    // Its length is that of its payload, which says what the range is.
    else if (hasStatusPayload)
      error = payloadBytes > STATUS_PAYLOAD_BYTES_MAX ? WireError.EINVAL : WireError.None;
    else error = checkRequest(header, this.#rules);

    if (payloadBytes === 0) {
      if (error === WireError.None) this.#execute(header, EMPTY);
      else this.#refuse(header, error);
      return;
    }
    if (error === WireError.None) {
      this.#payloadFor = hasStatusPayload ? 'status' : 'write';
      return;
    }
    // [nbd: NBD_CMD_WRITE] A refused WRITE still swallows its payload. [nbd-rule 23]
    if (payloadBytes > this.#setup.limits.refusedPayloadBytesMax) {
      throw new ProtocolError(`a request with a payload of ${payloadBytes} bytes`);
    }
    this.#payloadFor = error;
    this.#reader.startSkip(payloadBytes);
  }

  #receivePayload(): boolean {
    const { header } = this.#reader;
    const purpose = this.#payloadFor;
    if (purpose === 'write' || purpose === 'status') {
      const payload = this.#reader.takePayload(header.lengthBytes);
      if (payload === undefined) return false;
      this.#payloadFor = undefined;
      if (purpose === 'write') this.#execute(header, payload);
      else this.#executeStatus(header, payload);
      return true;
    }
    if (!this.#reader.skipPayload()) return false;
    this.#payloadFor = undefined;
    if (purpose !== undefined) this.#refuse(header, purpose);
    return true;
  }

  /** A BLOCK_STATUS whose payload says for which contexts. [nbd: NBD_FLAG_BLOCK_STATUS_PAYLOAD; nbd-rule 18] */
  #executeStatus(header: RequestHeader, payload: Buffer): void {
    const narrowed = narrowStatus(header, payload, this.#contexts);
    const error = narrowed === undefined ? WireError.EINVAL : checkRequest(narrowed.request, this.#rules);
    if (narrowed === undefined || error !== WireError.None) this.#refuse(header, error);
    else this.#track(header, this.#executor.queryStatus(narrowed.request, narrowed.contexts), payload);
  }

  #refuse(header: RequestHeader, error: WireError): void {
    this.#form.failure(this.#writer, header, { error, message: REFUSAL_MESSAGES[error] ?? '' });
  }

  #execute(header: RequestHeader, payload: Buffer): void {
    const pending =
      header.type === Command.BlockStatus
        ? this.#executor.queryStatus(header, this.#contexts)
        : this.#executor.execute(header, payload);
    this.#track(header, pending, payload);
  }

  /** Counts a request that was not answered at once until it is; its payload is free then. */
  #track(header: RequestHeader, pending: Promise<void> | undefined, payload: Buffer): void {
    const { payloads } = this.#setup;
    if (pending === undefined) {
      payloads.give(payload);
      return;
    }
    const bytes = this.#costOf(header);
    this.#inFlightCount += 1;
    this.#inFlightBytes += bytes;
    void pending.then(() => {
      this.#inFlightCount -= 1;
      this.#inFlightBytes -= bytes;
      payloads.give(payload);
      if (this.#inFlightCount === 0) this.#onSettled?.();
      this.#scheduleFlush();
    });
  }

  /** Bytes that a request takes while it is in progress. */
  #costOf(header: RequestHeader): number {
    const { limits } = this.#setup;
    switch (header.type) {
      case Command.Read:
      case Command.Write:
        return Math.min(header.lengthBytes, limits.payloadBytesMax);
      case Command.BlockStatus:
        return this.#contexts.length * limits.extentsMax * EXTENT_BYTES;
      default:
        return 0;
    }
  }

  #hasRoomFor(header: RequestHeader): boolean {
    const { limits } = this.#setup;
    const { unsentBytes } = this.#writer;
    const takenBytes = this.#inFlightBytes + unsentBytes;
    return (
      this.#inFlightCount < limits.requestsInFlightMax &&
      unsentBytes < limits.unsentBytesMax &&
      // One request is always let in, whatever the limits are.
      (takenBytes === 0 || takenBytes + this.#costOf(header) <= limits.bytesInFlightMax)
    );
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
    if (this.#inFlightCount > 0 || this.#writer.unsentBytes > 0) return;
    // The rest of a payload is still awaited, unless there will be none.
    if (this.#payloadFor !== undefined && !this.#isEnding) return;
    this.#setup.onFinished();
  }
}

const EMPTY = Buffer.alloc(0);

/** About what an extent takes while an answer is put together. */
const EXTENT_BYTES = 64;

const FORMS: Readonly<Record<ReplyStyle, ReplyForm>> = {
  [ReplyStyle.Simple]: simpleForm,
  [ReplyStyle.Structured]: structuredForm,
  [ReplyStyle.Extended]: extendedForm,
};

/** What a refusal says to a person. */
const REFUSAL_MESSAGES: Readonly<Partial<Record<WireError, string>>> = {
  [WireError.EPERM]: 'the export is read-only',
  [WireError.EINVAL]: 'the request is not valid for this export',
  [WireError.ENOSPC]: 'the request goes past the end of the export',
  [WireError.ESHUTDOWN]: 'the server is shutting down',
};
