import { OPTION_MAGIC } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';

/** Bytes before the data of an option. */
export const OPTION_HEADER_BYTES = 16;

/** What comes before the data of an option. [nbd: Newstyle negotiation] */
export interface OptionHeader {
  readonly option: number;
  /** Bytes of data that follow. */
  readonly lengthBytes: number;
}

/** Decodes the header of an option. @throws {ProtocolError} on a wrong magic number: the place is lost. */
export function decodeOptionHeader(bytes: Buffer, at: number): OptionHeader {
  if (bytes.readUInt32BE(at) !== OPTION_MAGIC.high || bytes.readUInt32BE(at + 4) !== OPTION_MAGIC.low) {
    throw new ProtocolError('an option without its magic number');
  }
  return { option: bytes.readUInt32BE(at + 8), lengthBytes: bytes.readUInt32BE(at + 12) };
}

/** Encodes an option with its data. */
export function encodeOption(option: number, data: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(OPTION_HEADER_BYTES + data.length);
  bytes.writeUInt32BE(OPTION_MAGIC.high, 0);
  bytes.writeUInt32BE(OPTION_MAGIC.low, 4);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(data.length, 12);
  bytes.set(data, OPTION_HEADER_BYTES);
  return bytes;
}
