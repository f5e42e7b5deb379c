import type { ByteQueue } from '../byte-queue.js';
import {
  decodeExtendedRequestHeader,
  decodeRequestHeader,
  emptyRequestHeader,
  EXTENDED_REQUEST_HEADER_BYTES,
  REQUEST_HEADER_BYTES,
} from '../codec/request-header.js';
import { Command, CommandFlag } from '../transmission-constants.js';
import type { PayloadPool } from './payload-pool.js';

/** Parses requests and their payloads out of what has arrived. */
export class RequestReader {
  /** The request that was parsed last; filled again by the next {@link peek}. */
  readonly header = emptyRequestHeader();
  readonly #input: ByteQueue;
  readonly #payloads: PayloadPool;
  readonly #isExtended: boolean;
  readonly #headerBytes: number;
  /** Where the payload goes that is being received, and how much of it there is. */
  #target: Buffer | undefined;
  #filledBytes = 0;
  #isPayloadView = false;
  /** Bytes of a payload that is not wanted. */
  #skipBytes = 0;

  /** @param isExtended whether requests have extended headers. */
  constructor(input: ByteQueue, payloads: PayloadPool, isExtended: boolean) {
    this.#input = input;
    this.#payloads = payloads;
    this.#isExtended = isExtended;
    this.#headerBytes = isExtended ? EXTENDED_REQUEST_HEADER_BYTES : REQUEST_HEADER_BYTES;
  }

  /** Parses the next header, and leaves it where it is. @returns false when it has not all arrived. */
  peek(): boolean {
    if (this.#input.lengthBytes < this.#headerBytes) return false;
    const bytes = this.#input.headOf(this.#headerBytes);
    if (this.#isExtended) decodeExtendedRequestHeader(bytes, this.#input.headAt, this.header);
    else decodeRequestHeader(bytes, this.#input.headAt, this.header);
    return true;
  }

  /** Goes on behind the header that was parsed. */
  accept(): void {
    this.#input.skip(this.#headerBytes);
  }

  /**
   * Bytes that follow the header: those of a WRITE, and with extended headers whatever is marked with PAYLOAD_LEN.
   * [nbd: Request message; nbd-rule 18, 23]
   *
   * A WRITE ought to be marked, too, with extended headers. Its bytes follow all the same where it is not: the client of
   * qemu up to 10.0 at least never sets the flag, qemu's server overlooks it, and to take what follows for
   * requests would let the data of a disk be carried out.
   */
  get payloadBytes(): number {
    const hasPayload =
      this.header.type === Command.Write ||
      (this.#isExtended && (this.header.flags & CommandFlag.PayloadLen) !== 0);
    return hasPayload ? this.header.lengthBytes : 0;
  }

  /**
   * The payload of the current request, once all of it is there: a view of what arrived where it came in one piece, else
   * a buffer from the pool, filled while it arrives.
   */
  takePayload(lengthBytes: number): Buffer | undefined {
    if (this.#target === undefined) {
      this.#isPayloadView = this.#input.lengthBytes >= lengthBytes;
      if (this.#isPayloadView) return this.#input.take(lengthBytes);
      this.#target = this.#payloads.take(lengthBytes);
      this.#filledBytes = 0;
    }
    const partBytes = Math.min(this.#input.lengthBytes, lengthBytes - this.#filledBytes);
    this.#input.copyTo(this.#target, this.#filledBytes, partBytes);
    this.#filledBytes += partBytes;
    if (this.#filledBytes < lengthBytes) return undefined;
    const payload = this.#target;
    this.#target = undefined;
    return payload;
  }

  /** The payload that was taken last is a view of what arrived. */
  get isPayloadView(): boolean {
    return this.#isPayloadView;
  }

  /** Where the rest of the payload belongs that is being received, if everything that arrived is used up. */
  get payloadRoom(): Buffer | undefined {
    return this.#input.lengthBytes > 0 ? undefined : this.#target?.subarray(this.#filledBytes);
  }

  /** So many bytes have arrived at the beginning of {@link payloadRoom}. */
  payloadFilled(countBytes: number): void {
    this.#filledBytes += countBytes;
  }

  /** Will have the next `lengthBytes` dropped by {@link skipPayload}. */
  startSkip(lengthBytes: number): void {
    this.#skipBytes = lengthBytes;
  }

  /** Drops what has arrived of an unwanted payload. @returns true once all of it is gone. */
  skipPayload(): boolean {
    const partBytes = Math.min(this.#input.lengthBytes, this.#skipBytes);
    this.#input.skip(partBytes);
    this.#skipBytes -= partBytes;
    return this.#skipBytes === 0;
  }
}
