import { ProtocolError } from '../protocol-error.js';
import { decodeString, encodeString } from './wire-string.js';

/** The data of INFO and GO. [nbd: NBD_OPT_INFO and NBD_OPT_GO] */
export interface InfoRequest {
  readonly name: string;
  /** The kinds of information that the client asked for, as it sent them. */
  readonly infoTypes: readonly number[];
}

/**
 * Decodes the data of INFO and GO. The inner lengths are held against the outer one before anything else is looked
 * at, and have to match it exactly. [nbd-rule 8]
 *
 * @throws {ProtocolError} when they do not, or the name is not a string.
 */
export function decodeInfoRequest(data: Buffer): InfoRequest {
  if (data.length < 6) throw new ProtocolError(`${data.length} bytes of data, where at least 6 are needed`);
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 6) {
    throw new ProtocolError(`a name of ${nameBytes} bytes in ${data.length} bytes of data`);
  }
  const countAt = 4 + nameBytes;
  const count = data.readUInt16BE(countAt);
  if (data.length !== countAt + 2 + 2 * count) {
    throw new ProtocolError(`${count} information requests do not fill ${data.length} bytes of data`);
  }
  const infoTypes: number[] = [];
  for (let index = 0; index < count; index += 1) infoTypes.push(data.readUInt16BE(countAt + 2 + 2 * index));
  return { name: decodeString(data.subarray(4, countAt)), infoTypes };
}

/** Encodes the data of INFO and GO. */
export function encodeInfoRequest(request: InfoRequest): Buffer {
  const name = encodeString(request.name);
  const bytes = Buffer.alloc(6 + name.length + 2 * request.infoTypes.length);
  bytes.writeUInt32BE(name.length, 0);
  bytes.set(name, 4);
  bytes.writeUInt16BE(request.infoTypes.length, 4 + name.length);
  request.infoTypes.forEach((type, index) => bytes.writeUInt16BE(type, 6 + name.length + 2 * index));
  return bytes;
}
