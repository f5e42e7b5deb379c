import { OPTION_REPLY_MAGIC } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';

/** Bytes before the data of a reply to an option. */
export const OPTION_REPLY_HEADER_BYTES = 20;

/** What comes before the data of a reply to an option. [nbd: Fixed newstyle negotiation] */
export interface OptionReplyHeader {
  /** The option that this answers. */
  readonly option: number;
  readonly type: number;
  /** Bytes of data that follow. */
  readonly lengthBytes: number;
}

/** Encodes a reply to an option with its data. */
export function encodeOptionReply(option: number, type: number, data: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(OPTION_REPLY_HEADER_BYTES + data.length);
  bytes.writeUInt32BE(OPTION_REPLY_MAGIC.high, 0);
  bytes.writeUInt32BE(OPTION_REPLY_MAGIC.low, 4);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, OPTION_REPLY_HEADER_BYTES);
  return bytes;
}

/** Decodes the header of a reply to an option. @throws {ProtocolError} on a wrong magic number. */
export function decodeOptionReplyHeader(bytes: Buffer, at: number): OptionReplyHeader {
  if (
    bytes.readUInt32BE(at) !== OPTION_REPLY_MAGIC.high ||
    bytes.readUInt32BE(at + 4) !== OPTION_REPLY_MAGIC.low
  ) {
    throw new ProtocolError('a reply to an option without its magic number');
  }
  return {
    option: bytes.readUInt32BE(at + 8),
    type: bytes.readUInt32BE(at + 12),
    lengthBytes: bytes.readUInt32BE(at + 16),
  };
}
