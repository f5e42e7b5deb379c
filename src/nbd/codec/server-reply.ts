import { ProtocolError } from '../protocol-error.js';
import { decodeString, encodeString } from './wire-string.js';

/** One export in the answer to LIST. */
export interface ServerReply {
  readonly name: string;
  /** For people; empty when there is none. */
  readonly description: string;
}

/** Encodes the data of NBD_REP_SERVER. [nbd: NBD_REP_SERVER] */
export function encodeServerReply(reply: ServerReply): Buffer {
  const name = encodeString(reply.name);
  const lengthField = Buffer.alloc(4);
  lengthField.writeUInt32BE(name.length, 0);
  return Buffer.concat([lengthField, name, encodeString(reply.description)]);
}

/** Decodes the data of NBD_REP_SERVER. @throws {ProtocolError} when its lengths do not fit. */
export function decodeServerReply(data: Buffer): ServerReply {
  if (data.length < 4) throw new ProtocolError('a list entry that is too short');
  const nameEnd = 4 + data.readUInt32BE(0);
  if (nameEnd > data.length) throw new ProtocolError('a list entry with a name longer than itself');
  return { name: decodeString(data.subarray(4, nameEnd)), description: decodeString(data.subarray(nameEnd)) };
}
