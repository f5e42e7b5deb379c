import type { BlockDevice, WriteRoom } from '../../device/block-device.js';
import { KIB } from '../../util/units.js';
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

/** To read less than this right into its place would cost more than to copy it there. */
const READ_IN_PLACE_BYTES_MIN = 16 * KIB;
/** From this length on the header in front of a payload is read on its own: a read of both would be mostly copied. */
const HEADER_ALONE_BYTES_MIN = 64 * KIB;

/** The data of a WRITE: bytes to be written, or a room of the device that is full of them. */
export type WriteData = Buffer | WriteRoom;

/** Parses requests and their payloads out of what has arrived. */
export class RequestReader {
  /** The request that was parsed last; filled again by the next {@link peek}. */
  readonly header = emptyRequestHeader();
  readonly #input: ByteQueue;
  readonly #payloads: PayloadPool;
  readonly #device: BlockDevice;
  readonly #isExtended: boolean;
  readonly #headerBytes: number;
  /** Where the payload goes that is being received. */
  #pieces: readonly Buffer[] = [];
  #pieceIndex = 0;
  /** How much there is of the piece. */
  #filledBytes = 0;
  /** How much is missing of the payload. */
  #restBytes = 0;
  /** The last request had a large payload, as the next one has then, most likely. */
  #isBehindLarge = false;
  /** The device's, if the pieces are. */
  #room: WriteRoom | undefined;
  #isPayloadView = false;
  /** Bytes of a payload that is not wanted. */
  #skipBytes = 0;

  /**
   * @param device may have room of its own for what is written to it.
   * @param isExtended whether requests have extended headers.
   */
  constructor(input: ByteQueue, payloads: PayloadPool, device: BlockDevice, isExtended: boolean) {
    this.#input = input;
    this.#payloads = payloads;
    this.#device = device;
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
    this.#isBehindLarge = false;
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
    if (this.#pieces.length === 0) {
      this.#isPayloadView = this.#input.lengthBytes >= lengthBytes;
      if (this.#isPayloadView) return this.#input.take(lengthBytes);
      this.#pieces = [this.#payloads.take(lengthBytes)];
      this.#restBytes = lengthBytes;
    }
    const [payload] = this.#pieces;
    return this.#fillPieces() ? payload : undefined;
  }

  /** The data of the current WRITE, once all of it is there: in the device's own memory where it has room for it. */
  takeWriteData(): WriteData | undefined {
    const { offset, lengthBytes } = this.header;
    if (this.#pieces.length === 0 && this.#input.lengthBytes < lengthBytes) {
      this.#room = this.#device.roomFor?.(offset, lengthBytes);
      if (this.#room !== undefined) this.#pieces = this.#room.pieces;
      this.#restBytes = lengthBytes;
    }
    if (this.#room === undefined) return this.takePayload(lengthBytes);
    if (!this.#fillPieces()) return undefined;
    const room = this.#room;
    this.#room = undefined;
    return room;
  }

  /** Moves what has arrived into the pieces. @returns true when they are full, and forgotten. */
  #fillPieces(): boolean {
    for (;;) {
      const piece = this.#pieces[this.#pieceIndex];
      if (piece === undefined) break;
      const partBytes = Math.min(this.#input.lengthBytes, piece.length - this.#filledBytes);
      this.#input.copyTo(piece, this.#filledBytes, partBytes);
      this.payloadFilled(partBytes);
      if (this.#filledBytes < piece.length) return false;
      this.#pieceIndex += 1;
      this.#filledBytes = 0;
    }
    this.#pieces = [];
    this.#pieceIndex = 0;
    this.#isBehindLarge = this.header.lengthBytes >= HEADER_ALONE_BYTES_MIN;
    return true;
  }

  /** The payload that was taken last is a view of what arrived. */
  get isPayloadView(): boolean {
    return this.#isPayloadView;
  }

  /** Where the next bytes of the payload belong, if everything that arrived is used up and there is much of it to come. */
  get payloadRoom(): Buffer | undefined {
    return this.#input.lengthBytes > 0 || this.#restBytes < READ_IN_PLACE_BYTES_MIN
      ? undefined
      : this.#pieces[this.#pieceIndex]?.subarray(this.#filledBytes);
  }

  /** So many bytes have arrived at the beginning of {@link payloadRoom}. */
  payloadFilled(countBytes: number): void {
    this.#filledBytes += countBytes;
    this.#restBytes -= countBytes;
  }

  /** How much to read when there is no {@link payloadRoom}: of what follows a large payload nothing but the header. */
  get wantedBytes(): number | undefined {
    return this.#isBehindLarge ? this.#headerBytes : undefined;
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
