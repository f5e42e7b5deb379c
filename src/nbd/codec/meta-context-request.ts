import { ProtocolError } from '../protocol-error.js';
import { decodeString, encodeString } from './wire-string.js';

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. [nbd: NBD_OPT_SET_META_CONTEXT] */
export interface MetaContextRequest {
  /** The export that the queries are about. */
  readonly name: string;
  readonly queries: readonly string[];
}

/**
 * Decodes the data of LIST_META_CONTEXT and SET_META_CONTEXT: each length is checked before what it measures is looked
 * at, and nothing may be left over. [nbd-rule 17]
 *
 * @throws {ProtocolError} when the lengths do not fit, or a string is not one.
 */
export function decodeMetaContextRequest(data: Buffer): MetaContextRequest {
  const name = takeString(data, 0, 'the export name');
  let at = 4 + Buffer.byteLength(name);
  if (data.length < at + 4) throw new ProtocolError('no number of queries');
  const count = data.readUInt32BE(at);
  at += 4;
  if (count > (data.length - at) / 4) {
    throw new ProtocolError(`${count} queries in ${data.length - at} bytes`);
  }
  const queries: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const query = takeString(data, at, 'a query');
    queries.push(query);
    at += 4 + Buffer.byteLength(query);
  }
  if (at !== data.length) throw new ProtocolError(`${data.length - at} bytes behind the last query`);
  return { name, queries };
}

function takeString(data: Buffer, at: number, what: string): string {
  if (data.length < at + 4) throw new ProtocolError(`no length of ${what}`);
  const lengthBytes = data.readUInt32BE(at);
  if (lengthBytes > data.length - at - 4) {
    throw new ProtocolError(`${what} is to have ${lengthBytes} bytes, and ${data.length - at - 4} are left`);
  }
  return decodeString(data.subarray(at + 4, at + 4 + lengthBytes));
}

/** Encodes the data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function encodeMetaContextRequest(request: MetaContextRequest): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(request.queries.length, 0);
  return Buffer.concat([withLength(request.name), count, ...request.queries.map(withLength)]);
}

function withLength(text: string): Buffer {
  const encoded = encodeString(text);
  const bytes = Buffer.alloc(4 + encoded.length);
  bytes.writeUInt32BE(encoded.length, 0);
  bytes.set(encoded, 4);
  return bytes;
}
