import type { RequestHeader } from '../codec/request-header.js';
import { ProtocolError } from '../protocol-error.js';
import { Command, WireError } from '../transmission-constants.js';
import type { RequestReader, WriteData } from './request-reader.js';
import { checkRequest, type RequestRules } from './request-rules.js';
import { STATUS_PAYLOAD_BYTES_MAX } from './status-contexts.js';

/** What becomes of requests. Headers are filled again by the next request. */
export interface RequestHandler {
  /** Whether there is room for one more request. */
  hasRoomFor(header: RequestHeader): boolean;
  /** A request that was found valid, with the data of a WRITE. */
  execute(header: RequestHeader, data: WriteData): void;
  /** A BLOCK_STATUS whose payload is still to be looked at. */
  executeStatus(header: RequestHeader, payload: Buffer): void;
  refuse(header: RequestHeader, error: WireError): void;
}

/** What came of taking in one header or one payload. */
export const IntakeStep = {
  /** It was taken in. */
  Taken: 0,
  /** More has to arrive first. */
  Starved: 1,
  /** There is no room for the request; it waits where it is. */
  NoRoom: 2,
  /** The client has said goodbye. */
  Goodbye: 3,
} as const;
export type IntakeStep = (typeof IntakeStep)[keyof typeof IntakeStep];

/** Takes requests in one after the other: header, check, payload, and on to the handler. */
export class RequestIntake {
  readonly #reader: RequestReader;
  readonly #rules: RequestRules;
  readonly #handler: RequestHandler;
  readonly #refusedPayloadBytesMax: number;
  /** What the payload that is being received is for, or an error to answer with once it is gone. */
  #payloadFor: 'write' | 'status' | WireError | undefined;
  #isRefusingAll = false;
  #requestCount = 0;

  /** @param refusedPayloadBytesMax how long a payload may be that is read and dropped. */
  constructor(
    reader: RequestReader,
    rules: RequestRules,
    handler: RequestHandler,
    refusedPayloadBytesMax: number,
  ) {
    this.#reader = reader;
    this.#rules = rules;
    this.#handler = handler;
    this.#refusedPayloadBytesMax = refusedPayloadBytesMax;
  }

  /** Requests taken in so far. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** True while the rest of a payload is awaited. */
  get isWithinPayload(): boolean {
    return this.#payloadFor !== undefined;
  }

  /** From now on every request gets ESHUTDOWN. [nbd-rule 35] */
  refuseAll(): void {
    this.#isRefusingAll = true;
  }

  /**
   * Takes in one header or one payload.
   *
   * @throws {ProtocolError} when the client has lost its place in the stream, or announces more than is ever read.
   */
  step(): IntakeStep {
    if (this.#payloadFor !== undefined) return this.#receivePayload();
    if (!this.#reader.peek()) return IntakeStep.Starved;
    const { header } = this.#reader;
    if (!this.#handler.hasRoomFor(header)) return IntakeStep.NoRoom;
    this.#reader.accept();
    this.#requestCount += 1;
    // [nbd: NBD_CMD_DISC] No reply, and nothing is read behind it. [nbd-rule 33]
    if (header.type === Command.Disc) return IntakeStep.Goodbye;
    this.#begin(header);
    return IntakeStep.Taken;
  }

  #begin(header: RequestHeader): void {
    const { payloadBytes } = this.#reader;
    const error = this.#errorOf(header, payloadBytes);
    if (payloadBytes === 0) {
      if (error === WireError.None) this.#handler.execute(header, EMPTY);
      else this.#handler.refuse(header, error);
      return;
    }
    if (error === WireError.None) {
      this.#payloadFor = header.type === Command.BlockStatus ? 'status' : 'write';
      return;
    }
    // [nbd: NBD_CMD_WRITE] A refused WRITE still swallows its payload. [nbd-rule 23]
    if (payloadBytes > this.#refusedPayloadBytesMax) {
      throw new ProtocolError(`a request with a payload of ${payloadBytes} bytes`);
    }
    this.#payloadFor = error;
    this.#reader.startSkip(payloadBytes);
  }

  #errorOf(header: RequestHeader, payloadBytes: number): WireError {
    if (this.#isRefusingAll) return WireError.ESHUTDOWN;
    if (payloadBytes > 0 && header.type === Command.BlockStatus) {
      // Its length is that of its payload, which is going to say what the range is.
      return payloadBytes > STATUS_PAYLOAD_BYTES_MAX ? WireError.EINVAL : WireError.None;
    }
    return checkRequest(header, this.#rules);
  }

  #receivePayload(): IntakeStep {
    const { header } = this.#reader;
    const purpose = this.#payloadFor;
    if (purpose === 'write') {
      const data = this.#reader.takeWriteData();
      if (data === undefined) return IntakeStep.Starved;
      this.#payloadFor = undefined;
      this.#handler.execute(header, data);
      return IntakeStep.Taken;
    }
    if (purpose === 'status') {
      const payload = this.#reader.takePayload(header.lengthBytes);
      if (payload === undefined) return IntakeStep.Starved;
      this.#payloadFor = undefined;
      this.#handler.executeStatus(header, payload);
      return IntakeStep.Taken;
    }
    if (!this.#reader.skipPayload()) return IntakeStep.Starved;
    this.#payloadFor = undefined;
    if (purpose !== undefined) this.#handler.refuse(header, purpose);
    return IntakeStep.Taken;
  }
}

const EMPTY = Buffer.alloc(0);
