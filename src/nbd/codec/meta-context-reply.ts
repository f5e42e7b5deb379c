import { ProtocolError } from '../protocol-error.js';
import { decodeString, encodeString } from './wire-string.js';

/** A metadata context by number and name. */
export interface MetaContext {
  /** Stands for it in replies to BLOCK_STATUS; 0 in the answer to LIST_META_CONTEXT. */
  readonly id: number;
  readonly name: string;
}

/** Encodes the data of NBD_REP_META_CONTEXT. [nbd: NBD_REP_META_CONTEXT] */
export function encodeMetaContextReply(context: MetaContext): Buffer {
  const name = encodeString(context.name);
  const bytes = Buffer.alloc(4 + name.length);
  bytes.writeUInt32BE(context.id, 0);
  bytes.set(name, 4);
  return bytes;
}

/** Decodes the data of NBD_REP_META_CONTEXT. @throws {ProtocolError} when it is too short or not UTF-8. */
export function decodeMetaContextReply(data: Buffer): MetaContext {
  if (data.length < 4) throw new ProtocolError('a metadata context without an id');
  return { id: data.readUInt32BE(0), name: decodeString(data.subarray(4)) };
}
