import { ProtocolError } from '../protocol-error.js';
import { EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC } from '../transmission-constants.js';
import { readUint64, writeUint64 } from './uint64.js';

/** Bytes of a request before its payload. [nbd: Request message] */
export const REQUEST_HEADER_BYTES = 28;
/** Bytes of a request before its payload when extended headers are on. */
export const EXTENDED_REQUEST_HEADER_BYTES = 32;

/**
 * What comes before the payload of a request. One object is filled again for each request of a connection, since
 * tens of thousands arrive each second.
 *
 * The cookie is opaque, and is kept as it came, in two signed halves that are never computed with. [nbd-rule 34]
 */
export interface RequestHeader {
  /** 16 bits of their own: not one field of 32 with `type`. [nbd-rule 25] */
  flags: number;
  type: number;
  cookieHigh: number;
  cookieLow: number;
  /** In bytes; Infinity from 2^53 on. */
  offset: number;
  /** The offset as it came, in two signed halves, for replies that repeat it. */
  offsetHigh: number;
  offsetLow: number;
  /** In bytes; Infinity from 2^53 on. */
  lengthBytes: number;
}

/** A header to be filled. */
export function emptyRequestHeader(): RequestHeader {
  return {
    flags: 0,
    type: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offset: 0,
    offsetHigh: 0,
    offsetLow: 0,
    lengthBytes: 0,
  };
}

/** Decodes a request into `into`. @throws {ProtocolError} on a wrong magic number: the place is lost. */
export function decodeRequestHeader(bytes: Buffer, at: number, into: RequestHeader): void {
  if (bytes.readUInt32BE(at) !== REQUEST_MAGIC) throw new ProtocolError('a request without its magic number');
  decodeCommonFields(bytes, at, into);
  into.lengthBytes = bytes.readUInt32BE(at + 24);
}

/** Decodes an extended request into `into`. @throws {ProtocolError} on a wrong magic number. */
export function decodeExtendedRequestHeader(bytes: Buffer, at: number, into: RequestHeader): void {
  if (bytes.readUInt32BE(at) !== EXTENDED_REQUEST_MAGIC) {
    throw new ProtocolError('a request without the magic number of extended requests');
  }
  decodeCommonFields(bytes, at, into);
  into.lengthBytes = readUint64(bytes, at + 24);
}

function decodeCommonFields(bytes: Buffer, at: number, into: RequestHeader): void {
  into.flags = bytes.readUInt16BE(at + 4);
  into.type = bytes.readUInt16BE(at + 6);
  into.cookieHigh = bytes.readInt32BE(at + 8);
  into.cookieLow = bytes.readInt32BE(at + 12);
  into.offset = readUint64(bytes, at + 16);
  into.offsetHigh = bytes.readInt32BE(at + 16);
  into.offsetLow = bytes.readInt32BE(at + 20);
}

/** What a client says in a request; the offset and the cookie in full. */
export interface RequestFields {
  readonly flags: number;
  readonly type: number;
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly lengthBytes: number;
}

/** Encodes a request, without its payload. */
export function encodeRequestHeader(request: RequestFields): Buffer {
  const bytes = Buffer.alloc(REQUEST_HEADER_BYTES);
  encodeCommonFields(bytes, REQUEST_MAGIC, request);
  bytes.writeUInt32BE(request.lengthBytes, 24);
  return bytes;
}

/** Encodes an extended request, without its payload. */
export function encodeExtendedRequestHeader(request: RequestFields): Buffer {
  const bytes = Buffer.alloc(EXTENDED_REQUEST_HEADER_BYTES);
  encodeCommonFields(bytes, EXTENDED_REQUEST_MAGIC, request);
  writeUint64(bytes, 24, request.lengthBytes);
  return bytes;
}

function encodeCommonFields(bytes: Buffer, magic: number, request: RequestFields): void {
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt16BE(request.flags, 4);
  bytes.writeUInt16BE(request.type, 6);
  bytes.writeBigUInt64BE(request.cookie, 8);
  bytes.writeBigUInt64BE(request.offset, 16);
}
