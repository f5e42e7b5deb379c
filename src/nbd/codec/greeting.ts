import { NBD_MAGIC, OPTION_MAGIC } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';

/** Bytes of what the server says first. */
export const GREETING_BYTES = 18;
/** Bytes of what the client answers. */
export const CLIENT_FLAGS_BYTES = 4;

/** Encodes the server's first words. [nbd: Newstyle negotiation] */
export function encodeGreeting(handshakeFlags: number): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes.writeUInt32BE(NBD_MAGIC.high, 0);
  bytes.writeUInt32BE(NBD_MAGIC.low, 4);
  bytes.writeUInt32BE(OPTION_MAGIC.high, 8);
  bytes.writeUInt32BE(OPTION_MAGIC.low, 12);
  bytes.writeUInt16BE(handshakeFlags, 16);
  return bytes;
}

/** Decodes the server's first words into its handshake flags. @throws {ProtocolError} on other words. */
export function decodeGreeting(bytes: Buffer, at: number): number {
  if (
    bytes.readUInt32BE(at) !== NBD_MAGIC.high ||
    bytes.readUInt32BE(at + 4) !== NBD_MAGIC.low ||
    bytes.readUInt32BE(at + 8) !== OPTION_MAGIC.high ||
    bytes.readUInt32BE(at + 12) !== OPTION_MAGIC.low
  ) {
    throw new ProtocolError('a greeting of another protocol');
  }
  return bytes.readUInt16BE(at + 16);
}

/** Encodes the client's answer to the greeting. */
export function encodeClientFlags(clientFlags: number): Buffer {
  const bytes = Buffer.alloc(CLIENT_FLAGS_BYTES);
  bytes.writeUInt32BE(clientFlags, 0);
  return bytes;
}

/** Decodes the client's answer to the greeting. */
export function decodeClientFlags(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at);
}
