import { assert } from '../../util/assert.js';
import { messageOf } from '../../util/errors.js';
import type { ByteQueue } from '../byte-queue.js';
import { CLIENT_FLAGS_BYTES, decodeClientFlags, encodeGreeting } from '../codec/greeting.js';
import { decodeOptionHeader, OPTION_HEADER_BYTES } from '../codec/option-request.js';
import type { ExportLease, ExportListing, ExportRefusedError } from '../export-table.js';
import { ClientFlag, HandshakeFlag, OptionReplyType, OptionType } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';
import { LEGAL_MOVES, NegotiationState } from './negotiation-state.js';
import { OPTION_HANDLERS } from './option-handlers.js';
import { refusalOf } from './option-refusals.js';
import {
  NegotiationSession,
  type NegotiationAction,
  type NegotiationSetup,
  type Refusal,
} from './session.js';

/** Clients that list exports ask for the contexts and the size of each: nbdinfo by two options, others by four. */
const OPTIONS_PER_EXPORT = 8;

/**
 * The server's side of the handshake as a state machine: bytes in, actions out, no socket. [nbd: Handshake]
 *
 * Fixed newstyle only; each option is answered by its own small file, see `option-handlers.ts`.
 */
export class Negotiation {
  readonly #session: NegotiationSession;
  #state: NegotiationState = NegotiationState.ClientFlags;
  #refusal: Refusal | undefined;
  #optionCount = 0;
  /** Bytes of data of the current option that are still to come. */
  #dataBytes = 0;
  /** What the current option is answered with, when it is refused unseen. */
  #skipAnswer: Refusal | undefined;

  constructor(setup: NegotiationSetup) {
    this.#session = new NegotiationSession(setup);
    this.#refusal = setup.refusal;
  }

  get state(): NegotiationState {
    return this.#state;
  }

  /** True in the middle of an option, which is then answered before the connection may end. */
  get isWithinOption(): boolean {
    return this.#state === 'optionData' || this.#state === 'skipData' || this.#state === 'export';
  }

  /** What the server says before it has heard anything. */
  start(): NegotiationAction[] {
    this.#session.send(encodeGreeting(HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes));
    return this.#session.takeActions();
  }

  /** Parses as much of `input` as there is, and stops where the next message is for somebody else. */
  advance(input: ByteQueue): NegotiationAction[] {
    try {
      while (this.#step(input));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#close(error.message);
    }
    return this.#session.takeActions();
  }

  /** The export that an `acquire` action asked for. */
  exportAcquired(lease: ExportLease): NegotiationAction[] {
    return this.#answerWaiting(this.#takeInquiry(), (inquiry) => inquiry.acquired(lease));
  }

  /** There is no export for an `acquire` action. */
  exportRefused(error: ExportRefusedError): NegotiationAction[] {
    return this.#answerWaiting(this.#takeInquiry(), (inquiry) => inquiry.refused(error));
  }

  /** What a `list` action waited for. */
  exportsListed(listings: readonly ExportListing[]): NegotiationAction[] {
    const { listed } = this.#session;
    this.#session.listed = undefined;
    return this.#answerWaiting(listed, (answer) => answer(listings));
  }

  /** The connection is encrypted; what comes now was sent by whoever holds the other end of that. */
  tlsStarted(): void {
    assert(this.#session.isStartingTls, 'nobody asked for TLS');
    this.#session.isStartingTls = false;
    this.#session.isTls = true;
    this.#move(NegotiationState.OptionHeader);
  }

  /** From now on every option but ABORT is refused. */
  refuseAll(refusal: Refusal): void {
    this.#refusal = refusal;
  }

  #step(input: ByteQueue): boolean {
    switch (this.#state) {
      case 'clientFlags':
        if (input.lengthBytes < CLIENT_FLAGS_BYTES) return false;
        this.#takeClientFlags(decodeClientFlags(input.take(CLIENT_FLAGS_BYTES), 0));
        return true;
      case 'optionHeader':
        if (input.lengthBytes < OPTION_HEADER_BYTES) return false;
        this.#takeOptionHeader(input);
        return true;
      case 'optionData':
        if (input.lengthBytes < this.#dataBytes) return false;
        this.#handleOption(input.take(this.#dataBytes));
        // Whatever came in the clear behind STARTTLS is not looked at, ever. [nbd-rule 15; CVE-2021-3716]
        if (this.#session.isStartingTls) input.clear();
        return true;
      case 'skipData':
        return this.#skipData(input);
      case 'tls':
      case 'export':
      case 'over':
        return false;
    }
  }

  #takeClientFlags(flags: number): void {
    // [nbd: Client flags] An unknown flag: drop the connection. [nbd-rule 1]
    if ((flags & ~(ClientFlag.FixedNewstyle | ClientFlag.NoZeroes)) !== 0) {
      this.#close(`the client set unknown flags (0x${(flags >>> 0).toString(16)})`);
      return;
    }
    this.#session.isFixedNewstyle = (flags & ClientFlag.FixedNewstyle) !== 0;
    this.#session.hasNoZeroes = (flags & ClientFlag.NoZeroes) !== 0;
    this.#move(NegotiationState.OptionHeader);
  }

  #takeOptionHeader(input: ByteQueue): void {
    const { option, lengthBytes } = decodeOptionHeader(input.headOf(OPTION_HEADER_BYTES), input.headAt);
    input.skip(OPTION_HEADER_BYTES);
    const { limits } = this.#session.setup;
    this.#session.option = option;
    this.#optionCount += 1;
    this.#dataBytes = lengthBytes;
    const optionsMax = limits.optionsMax + OPTIONS_PER_EXPORT * this.#session.shownCount;
    // Neither endless nor oversized haggling. [nbd-rule 20; CVE-2017-15119]
    if (this.#optionCount > optionsMax) {
      this.#refuseAndClose(OptionReplyType.ErrTooBig, `more than ${optionsMax} options`);
      return;
    }
    if (lengthBytes > limits.optionBytesMax) {
      this.#refuseAndClose(
        OptionReplyType.ErrTooBig,
        `an option with ${lengthBytes} bytes of data, where ${limits.optionBytesMax} are allowed`,
      );
      return;
    }
    this.#skipAnswer = refusalOf(option, this.#session, this.#refusal);
    this.#move(this.#skipAnswer === undefined ? NegotiationState.OptionData : NegotiationState.SkipData);
  }

  #skipData(input: ByteQueue): boolean {
    const partBytes = Math.min(this.#dataBytes, input.lengthBytes);
    input.skip(partBytes);
    this.#dataBytes -= partBytes;
    if (this.#dataBytes > 0) return false;
    const answer = this.#skipAnswer;
    assert(answer !== undefined, 'data was skipped without a reason');
    // [nbd: NBD_OPT_EXPORT_NAME] It cannot be answered with an error. [nbd-rule 3]
    if (this.#session.option === OptionType.ExportName) this.#close(answer.message);
    else this.#refuse(answer);
    return true;
  }

  #handleOption(data: Buffer): void {
    const handle = OPTION_HANDLERS.get(this.#session.option);
    assert(handle !== undefined, 'an option without a handler was not refused');
    try {
      handle(this.#session, data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#rejectData(error);
    }
    this.#move(this.#stateAfterOption());
  }

  #stateAfterOption(): NegotiationState {
    if (this.#session.isOver) return NegotiationState.Over;
    if (this.#session.isStartingTls) return NegotiationState.Tls;
    const { inquiry, listed } = this.#session;
    return inquiry === undefined && listed === undefined
      ? NegotiationState.OptionHeader
      : NegotiationState.Export;
  }

  /** The data of an option are malformed: an answer, unless it is the option that cannot have one. */
  #rejectData(error: ProtocolError): void {
    if (this.#session.option === OptionType.ExportName) this.#session.close(messageOf(error));
    else this.#session.refuse(OptionReplyType.ErrInvalid, messageOf(error));
  }

  #takeInquiry(): NegotiationSession['inquiry'] {
    const { inquiry } = this.#session;
    this.#session.inquiry = undefined;
    return inquiry;
  }

  #answerWaiting<T>(waiting: T | undefined, answer: (waiting: T) => void): NegotiationAction[] {
    assert(waiting !== undefined && this.#state === 'export', 'nobody asked for an export');
    if (this.#refusal !== undefined) {
      if (this.#session.option === OptionType.ExportName) this.#close(this.#refusal.message);
      else this.#refuse(this.#refusal);
    } else {
      answer(waiting);
      this.#move(this.#session.isOver ? NegotiationState.Over : NegotiationState.OptionHeader);
    }
    return this.#session.takeActions();
  }

  #refuse({ replyType, message, isFinal }: Refusal): void {
    this.#session.refuse(replyType, message);
    if (isFinal === true) this.#close(message);
    else this.#move(NegotiationState.OptionHeader);
  }

  #refuseAndClose(type: OptionReplyType, message: string): void {
    this.#session.refuse(type, message);
    this.#close(message);
  }

  #close(reason: string): void {
    this.#session.close(reason);
    this.#move(NegotiationState.Over);
  }

  #move(to: NegotiationState): void {
    assert(LEGAL_MOVES[this.#state].includes(to), `a handshake cannot go from ${this.#state} to ${to}`);
    this.#state = to;
  }
}
